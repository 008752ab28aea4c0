"""The Python API: the numbers of the commands, for sentences of any kind."""

import dataclasses
import doctest
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tagsdc_jax as tagsdc
from tagsdc_jax import api, main, settings
from tagsdc_jax.data import opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.reporting.page import content
from tagsdc_jax.runs import example_negatives, setup
from tagsdc_jax.training import checkpoints
from tests import tiny

_DOCS = Path(__file__).parents[1] / 'docs'
SMALL = {
  'data.world_size': 'tiny',
  'evaluation.num_buckets': 1,
  'num_devices': 1,
}
SENTENCE = 'a small red circle north of a blue star'


def _export(path, phase, world_dir):
  """Writes a checkpoint of a network with large random parameters."""
  config = tiny.make_settings(phase, world_dir, num_devices=1)
  config = setup.with_data_sizes(
    config, opening.open_split(config.data, 'test')
  )
  params = tiny.large_parameters(setup.make_model(config))
  about = {'phase': phase, 'update': 3, 'settings': settings.flatten(config)}
  checkpoints.export(path, params, about)
  return path


@pytest.fixture(name='path', scope='module')
def _path(world_dir, tmp_path_factory):
  return _export(tmp_path_factory.mktemp('api') / 'dc', 'dc', world_dir)


@pytest.fixture(name='matcher', scope='module')
def _matcher(path):
  return tagsdc.load(path)


@pytest.fixture(name='scores', scope='module')
def _scores(matcher):
  return matcher.score(range(len(matcher.data.captions)))


def test_importing_is_cheap():
  code = (
    'import sys, tagsdc_jax\n'
    'assert "load" in dir(tagsdc_jax)\n'
    'assert not {"jax", "numpy"} & set(sys.modules)\n'
    'tagsdc_jax.nothing\n'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True)
  assert done.stderr.splitlines()[-1] == (
    b"AttributeError: module 'tagsdc_jax' has no attribute 'nothing'"
  )


def test_evaluate_is_the_commands(matcher, scores, path, tmp_path, capsys):
  table, matrix = tmp_path / 'result.json', tmp_path / 'scores.npy'
  words = ['evaluate', str(path), '--json', str(table), '--scores', str(matrix)]
  assert main.main(words) == 0
  assert 'world/test' in capsys.readouterr().out
  found, expected = matcher.evaluate(), json.loads(table.read_text('utf-8'))
  for key in ('image_retrieval', 'text_retrieval', 'rsum', 'captions', 'split'):
    assert found[key] == expected[key]
  np.testing.assert_allclose(scores, np.load(matrix), rtol=1e-4, atol=1e-4)
  assert np.std(scores) > 0.1 and scores.dtype == np.float32


def test_sentences_are_the_captions_that_they_spell(matcher, scores):
  data = matcher.data
  texts = [data.captions[i].text for i in (3, 50, 119)]
  images = [data.image_ids[2], 0, np.int64(23)]
  np.testing.assert_allclose(
    matcher.score([*texts, 7], images),
    scores[np.ix_([3, 50, 119, 7], [2, 0, 23])],
    rtol=1e-5,
    atol=1e-5,
  )
  assert matcher.score(texts[0].upper(), 2).shape == (1, 1)


def test_longer_sentences_than_the_splits(matcher):
  long = ' '.join(['there is a large red circle and'] * 4)
  assert len(long.split()) > max(
    len(c.token_ids) for c in matcher.data.captions
  )
  alone, among = matcher.score(SENTENCE, 1), matcher.score([SENTENCE, long], 1)
  np.testing.assert_allclose(alone[0], among[0], rtol=1e-4)
  checked = matcher.check(long, 1)[0]
  assert checked.text == long and len(checked.words) == 28
  np.testing.assert_allclose(
    checked.probability, 1 / (1 + np.exp(-among[1, 0])), rtol=1e-4
  )
  [found] = matcher.negatives(long, 1, number=2)
  assert found[0].caption_score == pytest.approx(among[1, 0], rel=1e-3)


def test_rank(matcher, scores):
  found = matcher.rank([5, 90], number=4)
  np.testing.assert_array_equal(found, np.argsort(-scores[[5, 90]])[:, :4])
  some = matcher.rank(5, ['test-00007', 3])
  assert list(some[0]) == sorted([7, 3], key=lambda i: -scores[5, i])


def test_the_score_is_linear_in_the_embedding(matcher, scores):
  images = np.arange(20) % 24
  embedded = matcher.embed(list(range(20)), images)
  head = checkpoints.load(matcher.path).parameters['rank_output']
  np.testing.assert_allclose(
    embedded @ head['kernel'][:, 0] + head['bias'],
    scores[np.arange(20), images],
    rtol=1e-3,
    atol=1e-4,
  )


@pytest.fixture(name='example', scope='module')
def _example(matcher, path):
  """What the report shows of caption 11."""
  maker = example_negatives.Maker(
    matcher.settings, checkpoints.load(path).parameters, matcher.data, 3
  )
  return maker.make(11, content.Picture('p', None, ()), None)


def test_negatives_are_the_reports(matcher, scores, example):
  [found] = matcher.negatives(11)
  assert len(found) == len(example.negatives) > 1
  image = matcher.data.captions[11].image
  rescored = matcher.score([one.text for one in found], image)[:, 0]
  for one, shown, score in zip(found, example.negatives, rescored, strict=True):
    assert one.text == ' '.join(word.text for word in shown.words)
    assert 1 / (1 + np.exp(-one.score)) == pytest.approx(shown.probability)
    assert one.score == pytest.approx(score, rel=1e-3, abs=1e-3)
    assert one.caption_score == pytest.approx(scores[11, image], rel=1e-3)
    assert one.edits == tuple(
      tagsdc.Edit(place, word.original, word.text)
      for place, word in enumerate(shown.words)
      if word.original
    )


def test_several_captions_have_the_negatives_of_each(matcher):
  found = matcher.negatives([11, SENTENCE], [2, 5], number=3)
  assert found[0] == matcher.negatives(11, number=3)[0]
  assert found[1] == matcher.negatives(SENTENCE, 5, number=3)[0]
  assert [len(one) for one in found] == [3, 3]
  for one in found[1]:
    words = SENTENCE.split()
    for edit in one.edits:
      assert words[edit.position] == edit.before
      words[edit.position] = edit.after
    assert ' '.join(words) == one.text != SENTENCE


def test_sources_and_seeds(matcher):
  def texts(**options):
    return [one.text for one in matcher.negatives(11, **options)[0]]

  assert texts(seed=1) != texts() == texts(source='mask_refill')
  swapped = texts(source='word_swap')
  caption = matcher.data.captions[11].text
  assert swapped and caption not in swapped
  assert all(sorted(x.split()) == sorted(caption.split()) for x in swapped)


def test_checked_words_are_the_reports(matcher, example):
  [negative], image = matcher.negatives(11, number=1)[0], 2
  shown = example.negatives[0]
  [checked] = matcher.check(negative.text, image)
  assert checked.probability == pytest.approx(shown.probability, rel=1e-3)
  for word, expected in zip(checked.words, shown.words, strict=True):
    assert word.text == expected.text
    assert word.replaced == pytest.approx(expected.replaced_prob, rel=1e-3)
    if expected.correction:
      assert word.suggestion == expected.correction
  assert checked.corrected.split() == [
    word.suggestion if word.is_corrected else word.text
    for word in checked.words
  ]
  several = matcher.check(range(20), image)
  assert any(one.corrected != one.text for one in several)
  assert matcher.check(11, image, words=False)[0] == tagsdc.Checked(
    matcher.data.captions[11].text,
    pytest.approx(negative.caption_score, rel=1e-3),
    pytest.approx(1 / (1 + np.exp(-negative.caption_score)), rel=1e-3),
    (),
    matcher.data.captions[11].text,
  )


def test_own_data(matcher, path):
  names = [f'photo {i}' for i in range(24)]
  own = dataclasses.replace(matcher.data, name='mine', image_ids=names)
  other = tagsdc.load(path, own)
  np.testing.assert_array_equal(
    other.score(SENTENCE, 'photo 3'), matcher.score(SENTENCE, 3)
  )


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda m: m.score('a red banana'), "no word 'banana'"),
    (lambda m: m.score(' '), 'at least one word'),
    (lambda m: m.score('a ' * 31), 'at most 30 tokens .* got 31'),
    (lambda m: m.score([]), 'sentences and images must be a str, a number'),
    (lambda m: m.score(None), 'sentences and images must be a str, a number'),
    (lambda m: m.score([None]), 'must be a str'),
    (lambda m: m.score(120), 'number from 0 to 119, got 120'),
    (lambda m: m.score(0, -1), 'number from 0 to 23, .*got -1'),
    (lambda m: m.score(0, 'x.jpg'), "a name such as 'test-00000', got 'x.jpg'"),
    (lambda m: m.embed([0, 1], [0, 1, 2]), '2 sentences and 3 images'),
    (lambda m: m.rank(0, number=0), 'number must be at least 1'),
    (lambda m: m.negatives(SENTENCE), 'images must name the image'),
    (lambda m: m.negatives(0, source='texts'), 'source must be one that'),
    (lambda m: m.negatives(0, source='none'), 'must be one of images'),
    (lambda m: tagsdc.load('shipped:none'), '^shipped:none: no such weights'),
    (lambda m: tagsdc.load(m.path, 'dev'), "RetrievalDataset, got 'dev'"),
    (lambda m: tagsdc.load(3), 'path must be a str or a path, got 3'),
    (
      lambda m: tagsdc.load(m.path, overrides={'model.num_heads': 1}),
      'model.num_heads is part of the trained network',
    ),
    (lambda m: tagsdc.load(m.path, overrides={'x': 1}), 'x is not a setting'),
    (lambda m: tagsdc.train('worlds', 'run'), 'neither a file nor a built-in'),
    (
      lambda m: tagsdc.train(m.settings, 'run', overrides={'seed': -1}),
      'seed must be',
    ),
    (lambda m: tagsdc.metrics('nowhere'), 'nowhere must be a run folder'),
  ],
)
def test_what_is_wrong_is_said_in_a_line(matcher, call, message):
  with pytest.raises(tagsdc.UserError, match=message) as caught:
    call(matcher)
  assert '\n' not in str(caught.value)


def test_words_are_checked_after_stage_2_only(world_dir, tmp_path):
  other = tagsdc.load(_export(tmp_path / 'tags', 'tags', world_dir))
  with pytest.raises(tagsdc.UserError, match='phase tags, which has no word'):
    other.check(SENTENCE, 0, words=True)
  assert other.check(SENTENCE, 0)[0].words == ()


@pytest.fixture(name='in_small_world')
def _in_small_world(world_dir, tmp_path, monkeypatch):
  """Works in an empty folder; the embedded world is where it is looked for."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(world, 'DEFAULT_DATA_DIR', world_dir)


def _run_examples(tests):
  runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
  for test in tests:
    runner.run(test, clear_globs=False)
  assert runner.summarize(verbose=False).failed == 0
  return runner.tries


def test_examples_of_the_docstrings(in_small_world):
  found = doctest.DocTestFinder(exclude_empty=True).find(api)
  names = {test.name.rpartition('.')[2] for test in found if test.examples}
  assert names == {'Matcher', 'load', 'metrics'} | {
    name for name in vars(tagsdc.Matcher) if not name.startswith('_')
  }
  globs = vars(api) | {
    'SMALL': SMALL,
    'matcher': tagsdc.load('shipped:world_pretrain', overrides=SMALL),
  }
  for test in found:
    test.globs = globs
  assert _run_examples(found) > 10


def _page_examples(path):
  """Returns a page's text, and its examples as one test."""
  text = path.read_text('utf-8')
  blocks = re.findall(r'^```pycon\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
  return text, doctest.DocTestParser().get_doctest(
    '\n'.join(blocks), {}, path.name, path.name, 0
  )


def test_the_example_of_the_readme(in_small_world):
  _, example = _page_examples(_DOCS.parent / 'README.md')
  assert _run_examples([example]) > 5


def test_examples_of_the_page(in_small_world):
  text, page = _page_examples(_DOCS / 'api.md')
  for name in tagsdc.__all__:
    assert re.search(rf'`(tagsdc\.)?{name}\b', text), name
  assert _run_examples([page]) > 10
  # The run that the page has left here.
  lines = tagsdc.metrics('runs/first')
  assert [x['update'] for x in lines if x['kind'] == 'train'] == [1, 2]
  with open('runs/first/metrics.jsonl', 'a', encoding='utf-8') as file:
    file.write('{"update": 3, "kind": "tr')  # At work.
  assert tagsdc.metrics(Path('runs/first')) == lines


def test_the_notebook(in_small_world, monkeypatch):
  monkeypatch.setenv('MPLBACKEND', 'agg')
  book = json.loads((_DOCS / 'first_steps.ipynb').read_text('utf-8'))
  namespace: dict = {}
  cells = [
    ''.join(x['source']) for x in book['cells'] if x['cell_type'] == 'code'
  ]
  for number, cell in enumerate(cells):
    exec(compile(cell, f'cell {number}', 'exec'), namespace)
  namespace['plt'].close('all')
  assert len(cells) > 5 and namespace['negatives']
  assert [x['update'] for x in namespace['train_lines']][-1] == 50
