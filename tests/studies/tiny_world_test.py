"""Every study on the tiny world: real networks, real measures, real pages."""

import json
import math
import shutil

import pytest

from tagsdc_jax import settings
from tagsdc_jax.runs import chain, folder
from tagsdc_jax.studies import built_in, running, study, summary
from tagsdc_jax.studies.measures import networks
from tests import tiny

EXPECTED = {
  'ablation': {'image R@1', 'text R@1', 'foils'},
  'robustness': {'text R@1, static, k = 0', 'mean rank, dynamic, k = 400'},
  'faithfulness': {
    'false, all refills',
    'not a sentence, the ten hardest',
    'mean perplexity, corrected',
    'mean log-perplexity of words, negatives',
  },
  'discrimination': {
    'recall of replaced, tailored',
    'recall of kept, retrieved',
    'corrected, two phrases swapped',
  },
  'difficulty': {
    'mean difference, tailored',
    "above the caption, the data set's captions",
  },
  'length_bias': {'half-truths'},
}


def _base(world_dir):
  return study.Base(
    {
      phase: tiny.make_settings(phase, world_dir, init_from=start)
      for phase, start in (
        ('pretrain', ''),
        ('tags', settings.REQUIRED),
        ('dc', settings.REQUIRED),
      )
    }
  )


@pytest.fixture(scope='module', name='trained')
def _trained(world_dir, tmp_path_factory):
  """A real training of each phase, which stands in for all of them."""
  out = tmp_path_factory.mktemp('trained')
  runner = running.Runner(out, _base(world_dir), lambda line: None)
  tags = study.Run('tags', 'tags')
  return {
    'pretrain': runner.start(),
    'tags': runner.train(tags, 0),
    'dc': runner.train(study.Run('dc', 'dc', {}, tags), 0),
  }


@pytest.fixture(name='runner')
def _runner(world_dir, trained, tmp_path, monkeypatch):
  def train_from(start, config, run_dir):
    if not run_dir.exists():
      shutil.copytree(trained[config.phase].path, run_dir)
    return json.loads((run_dir / folder.RESULTS).read_text())

  monkeypatch.setattr(chain, 'train_from', train_from)
  for name in ('COPIES', 'SAMPLES'):
    monkeypatch.setattr(networks, name, 3)
  return running.Runner(tmp_path, _base(world_dir), lambda line: None)


@pytest.mark.parametrize('name', sorted(built_in.STUDIES))
def test_every_study(name, runner, capsys):
  [page] = summary.run([name], runner, 1, (0, 1))
  found = json.loads((page.parent / summary.RESULTS).read_text())
  assert EXPECTED.get(name, {'image R@1'}) <= {
    number for row in found['rows'] for number in row['cells']
  }
  for row in found['rows']:
    assert row['cells']
    for number, cell in row['cells'].items():
      mean, low, high = cell['value']
      assert math.isfinite(mean) and low <= high, (row['label'], number)
      if not number.startswith('mean '):
        assert 0 <= low <= mean <= high <= 100
  one = built_in.STUDIES[name]
  text = page.read_text('utf-8')
  assert one.title in text and text.count('<svg') >= len(found['figures'])
  assert one.title in capsys.readouterr().out
  if name == 'cases':
    assert 'Generated negatives' in text
  if name in ('generator', 'units', 'robustness', 'difficulty', 'faithfulness'):
    assert found['figures']


def test_a_study_that_is_killed_and_continued_gives_the_same(
  runner, tmp_path, monkeypatch
):
  [whole] = summary.run(['discrimination'], runner, 2, (0, 1))
  expected = (whole.parent / summary.RESULTS).read_bytes()
  asked = []

  class Killed(BaseException):
    pass

  def say(line):
    if line.startswith(('training', 'measuring')):
      asked.append(line)
      if len(asked) % 2:  # Every start gets one step further.
        raise Killed

  again = running.Runner(tmp_path / 'again', runner.base, say)
  for _ in range(len(asked) + 100):
    try:
      [page] = summary.run(['discrimination'], again, 2, (0, 1))
      break
    except Killed:
      pass
  assert len(asked) > 10
  assert (page.parent / summary.RESULTS).read_bytes() == expected


def test_numbers_depend_on_the_network_and_not_on_the_order(trained, runner):
  """The same subject gives the same items; another one others."""
  tags, dc = trained['tags'], trained['dc']
  assert runner.measure(tags, 'gaps') != runner.measure(dc, 'gaps')
  shutil.rmtree(runner.out / 'measures')
  again = runner.measure(dc, 'gaps')
  shutil.rmtree(runner.out / 'measures')
  assert runner.measure(dc, 'gaps') == again
