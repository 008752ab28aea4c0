"""`tagsdc generate`: what is written, continued, on devices; bad input."""

import json

import jax
import numpy as np
import pytest

from tagsdc_jax import api, files, main, settings
from tagsdc_jax.data import opening
from tagsdc_jax.models import retrieval
from tagsdc_jax.negative_files import records
from tagsdc_jax.runs import generating, negatives_folder, setup
from tagsdc_jax.training import checkpoints
from tests import tiny

# Of the 120 captions.
_SHARD = 64
_FEW = ['--fluency', '0', '--config.num_devices', '1']


@pytest.fixture(scope='module', name='runs')
def _runs(tmp_path_factory, world_dir):
  """Run folders of random networks, one of each phase."""
  folder = tmp_path_factory.mktemp('generate')
  for seed, phase in enumerate(('dc', 'tags')):
    config = tiny.make_settings(phase, world_dir)
    config = setup.with_data_sizes(
      config, opening.open_split(config.data, 'test')
    )
    params = jax.tree.map(
      np.asarray,
      retrieval.init_parameters(setup.make_model(config), jax.random.key(seed)),
    )
    checkpoints.export(
      folder / phase / 'checkpoints' / 'best' / '2',
      params,
      {'phase': phase, 'update': 2, 'settings': settings.flatten(config)},
    )
  return folder


def _generate(*words):
  return main.main(['generate', *map(str, words)])


def _bytes(out):
  return (out / negatives_folder.NEGATIVES).read_bytes()


@pytest.fixture(scope='module', name='made')
def _made(runs, tmp_path_factory):
  out = tmp_path_factory.mktemp('made') / 'out'
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(generating, '_SHARD', _SHARD)
    assert _generate(runs / 'dc', out, '--config.num_devices', '1') == 0
  return out


def test_what_is_written(runs, made):
  file = records.File(made / negatives_folder.NEGATIVES)
  captions = list(file)
  matcher = api.load(runs / 'dc', overrides={'num_devices': 1})
  assert [one.text for one in captions] == [
    one.text for one in matcher.data.captions
  ]
  negatives = [(one, own) for one in captions for own in one.negatives]
  assert len(negatives) > 20
  for one, own in negatives:
    text, done = '', 0
    for edit in own.edits:
      assert one.text[edit.start : edit.end] == edit.old
      text += one.text[done : edit.start] + edit.new
      done = edit.end
    assert own.text == text + one.text[done:] != one.text
    assert 0 <= own.probability <= 0.5
    assert len(own.words) == len(own.replaced) == len(own.text.split())
    assert own.corrected.split()
  # Scores are those that anyone else computes.
  one, own = negatives[7]
  scores = matcher.score([one.text, own.text], one.image_id)
  np.testing.assert_allclose(
    scores[:, 0], [one.score, own.score], rtol=1e-4, atol=1e-5
  )
  [checked] = matcher.check(own.text, one.image_id)
  np.testing.assert_allclose(
    [word.replaced for word in checked.words], own.replaced, atol=1e-4
  )
  assert file.header['counts']['negatives'] == len(negatives)
  assert sum(file.header['counts']['kinds'].values()) == len(negatives)
  assert file.header['calibration']['bins'][0]['low'] == 0
  considered = sum(file.header['counts']['dropped'].values())
  assert considered + len(negatives) == 12 * len(captions)


def test_stopped_and_continued_is_the_same_file(
  runs, made, tmp_path, monkeypatch, capsys
):
  whole = _bytes(made)
  write = files.write_bytes

  def interrupted(path, content):
    if path.name == '000001.jsonl':
      raise KeyboardInterrupt
    write(path, content)

  monkeypatch.setattr(generating, '_SHARD', _SHARD)
  words = [runs / 'dc', tmp_path, '--config.num_devices', '1']
  with monkeypatch.context() as patched:
    patched.setattr(files, 'write_bytes', interrupted)
    assert _generate(*words) == 130
  assert not (tmp_path / negatives_folder.NEGATIVES).exists()
  capsys.readouterr()
  assert _generate(*words) == 0
  assert 'continuing: 64 of 120 captions' in capsys.readouterr().out
  assert _bytes(tmp_path) == whole
  assert sorted(x.name for x in tmp_path.iterdir()) == sorted(
    x.name for x in made.iterdir()
  )
  # Complete: nothing is done again; another request is refused.
  assert _generate(*words) == 0
  assert 'complete already' in capsys.readouterr().out
  assert _generate(runs / 'dc', tmp_path, '--per-caption', '2') == 2
  assert 'per_caption: 4, now 2' in capsys.readouterr().err
  assert _generate(runs / 'tags', tmp_path) == 2
  assert 'another request' in capsys.readouterr().err


def test_devices_only_divide_the_work(runs, tmp_path):
  every = []
  for number in (1, 3):
    out = tmp_path / str(number)
    words = ['--max-true', '1', '--config.num_devices', number]
    assert _generate(runs / 'tags', out, *words) == 0
    every.append(_bytes(out))
  assert every[0] == every[1]
  header = json.loads(every[0].splitlines()[0])
  assert header['calibration'] is None
  assert header['model']['phase'] == 'tags'


def test_a_judge_and_swaps(runs, tmp_path):
  words = ['--source', 'word_swap', '--judge', runs / 'dc', *_FEW]
  assert _generate(runs / 'tags', tmp_path / 'out', *words) == 0
  file = records.File(tmp_path / 'out' / negatives_folder.NEGATIVES)
  assert file.header['judge']['phase'] == 'dc'
  swaps = [own for one in file for own in one.negatives]
  assert len(swaps) > 10
  for own in swaps:
    assert own.source == 'word_swap' and own.words == ()
    first, second = own.edits
    assert (first.old, first.new) == (second.new, second.old)


def test_captions_of_a_file(runs, tmp_path, capsys):
  path = tmp_path / 'mine.csv'
  path.write_text(
    'image,caption\ntest-00001,A small red circle\nother,a red star\n'
    'test-00000,a zebra near a blue star\n'
  )
  words = ['--captions', path, '--phrases', 'words', '--max-true', '1', *_FEW]
  assert _generate(runs / 'tags', tmp_path / 'out', *words) == 0
  told = capsys.readouterr().out
  assert '2 of 3 pictures are in world/test' in told
  assert 'words that are not in the vocabulary' in told
  first, second = records.File(tmp_path / 'out' / negatives_folder.NEGATIVES)
  assert first.text == 'A small red circle'
  assert all(
    own.text[:2] == 'A ' for own in first.negatives if own.edits[0].start
  )
  assert 'zebra' in second.text


@pytest.mark.parametrize(
  ('words', 'told'),
  [
    (['--source', 'texts'], 'must be one that generates sentences'),
    (['--source', 'nothing'], 'nothing'),
    (['--source', 'static_refill'], 'pass --start RUN'),
    (['--start', 'RUN'], '--start is read by static_refill only'),
    (['--max-true', '1', '--judge', 'RUN'], 'leave one out'),
    (['--captions', 'MISSING'], 'is missing'),
    (['--config.negatives.num_copies', '0'], 'num_copies'),
  ],
)
def test_bad_input_is_one_line(runs, tmp_path, capsys, words, told):
  names = {'RUN': runs / 'dc', 'MISSING': tmp_path / 'MISSING'}
  words = [names.get(word, word) for word in words]
  try:
    code = _generate(runs / 'tags', tmp_path / 'out', *words)
  except SystemExit as end:
    code = end.code
  error = capsys.readouterr().err
  assert code == 2
  assert told in error and error.count('\n') == 1
  assert not (tmp_path / 'out' / negatives_folder.NEGATIVES).exists()


def test_fewer_candidates_than_training_had_hard_ones(runs, tmp_path):
  words = ['--config.negatives.num_copies', '1', '--max-true', '1', *_FEW]
  words += ['--config.negatives.num_samples', '2']
  assert _generate(runs / 'tags', tmp_path / 'out', *words) == 0
  file = records.File(tmp_path / 'out' / negatives_folder.NEGATIVES)
  assert max(len(one.negatives) for one in file) <= 2
  assert 'negatives.num_hard' not in file.header['settings']


def test_a_folder_of_something_else(runs, tmp_path, capsys):
  (tmp_path / 'mine.txt').write_text('mine')
  assert _generate(runs / 'tags', tmp_path) == 2
  assert 'holds no negatives, but mine.txt' in capsys.readouterr().err


def test_pictures_are_asked_for_before_the_work(runs, tmp_path, capsys):
  words = ['--export', 'webdataset', *_FEW]
  assert _generate(runs / 'tags', tmp_path / 'out', *words) == 2
  assert 'contains the pictures, and the data has none' in (
    capsys.readouterr().err
  )
  assert not (tmp_path / 'out').exists()


def test_a_file_of_other_pictures_is_refused(runs, tmp_path, capsys):
  path = tmp_path / 'mine.csv'
  path.write_text('image,caption\npicture_00.png,a red star\n')
  words = ['--captions', path, '--phrases', 'words', *_FEW]
  assert _generate(runs / 'tags', tmp_path / 'out', *words) == 2
  assert 'check that they belong together' in capsys.readouterr().err
