"""Parts on disk: whole or not there, and never another evaluation's."""

import dataclasses

import jax
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.evaluation import score_cache, tiles
from tests import denying, tiny

_ABOUT = {'parameters_sha256': 'ab', 'first_pass': None}
_PART = np.arange(6, dtype=np.float32).reshape(2, 3)


def _parts(path, about=None, tile_images=2):
  """Five parts of images, with three captions."""
  images = np.arange(5 * tile_images).reshape(5, 1, tile_images)
  return score_cache.ScoreCache(path, 'test', about or _ABOUT, images, 3)


def test_a_part_comes_back(tmp_path):
  parts = _parts(tmp_path / 'evaluation')
  assert parts.load(7) is None and not parts.has(7)
  parts.save(7, _PART)
  parts.write_about()
  again = _parts(tmp_path / 'evaluation')
  assert again.path == parts.path and again.has(7)
  np.testing.assert_array_equal(again.load(7), _PART)
  assert {p.name for p in parts.path.iterdir()} == {'about.json', '000007.part'}


def test_everything_else_has_another_folder(tmp_path):
  paths = {
    _parts(tmp_path, about).path
    for about in (
      _ABOUT,
      _ABOUT | {'parameters_sha256': 'ac'},
      _ABOUT | {'first_pass': {'k': 3}},
    )
  }
  assert len(paths) == 3


def test_a_part_that_was_moved_here_is_not_taken(tmp_path):
  ours, other = _parts(tmp_path), _parts(tmp_path, {'parameters_sha256': 'x'})
  other.save(1, _PART)
  for name in ('000001.part', '000002.part'):
    (ours.path / name).write_bytes((other.path / '000001.part').read_bytes())
  assert ours.load(1) is None and ours.has(1)
  # Nor is another number's.
  ours.save(1, _PART)
  (ours.path / '000002.part').write_bytes(
    (ours.path / '000001.part').read_bytes()
  )
  assert ours.load(2) is None
  assert _parts(tmp_path, tile_images=3).load(1) is None


@pytest.mark.parametrize(
  'damage',
  [
    lambda content: content[:-1],
    lambda content: content[:10],
    lambda content: b'',
    lambda content: content + b'\0',
    lambda content: content[:-5] + bytes([content[-5] ^ 4]) + content[-4:],
    lambda content: bytes([content[0] ^ 1]) + content[1:],
  ],
)
def test_damage_is_noticed(tmp_path, damage):
  parts = _parts(tmp_path)
  parts.save(0, _PART)
  path = parts.path / '000000.part'
  path.write_bytes(damage(path.read_bytes()))
  assert parts.has(0) and parts.load(0) is None


def test_what_is_missing_is_told(tmp_path, capsys):
  parts = _parts(tmp_path)
  for part in (0, 1, 3):
    parts.save(part, _PART)
  (parts.path / '000001.part').write_bytes(b'')
  assert parts.missing([3, 2, 1, 0], is_verbose=False) == [2, 1]
  assert not capsys.readouterr().err
  assert parts.missing([3, 2, 1, 0], is_verbose=True) == [2, 1]
  shown = capsys.readouterr().err.splitlines()
  assert shown == [
    f'scoring 1 corrupt parts in {parts.path} again',
    f'resuming the evaluation in {parts.path}: 2 of 4 parts are finished',
  ]


def test_joined(tmp_path):
  images = np.array([[[3], [0]], [[1], [2]]])
  parts = score_cache.ScoreCache(tmp_path, 'test', _ABOUT, images, 3)
  parts.save(1, _PART)
  with pytest.raises(errors.UserError, match='part 0 is missing or corrupt in'):
    parts.joined()
  parts.save(0, _PART + 10)
  np.testing.assert_array_equal(
    parts.joined().T, [[13, 14, 15], [0, 1, 2], [3, 4, 5], [10, 11, 12]]
  )


def test_removing_leaves_what_is_not_ours(tmp_path):
  parts = _parts(tmp_path / 'evaluation')
  parts.save(0, _PART)
  (tmp_path / 'evaluation' / 'other').mkdir()
  parts.remove()
  assert [p.name for p in (tmp_path / 'evaluation').iterdir()] == ['other']
  parts = _parts(tmp_path / 'alone')
  parts.remove()
  assert not (tmp_path / 'alone').exists()


def test_a_folder_that_may_not_be_written_names_the_option():
  with (
    denying.open_folder() as folder,
    denying.denied(folder),
    pytest.raises(
      errors.UserError,
      match='cannot be written: permission denied; change '
      'its owner or mode, or pass another --work-dir',
    ),
  ):
    _parts(folder / 'evaluation')


def test_a_file_in_the_way_is_told(tmp_path):
  (tmp_path / 'evaluation').write_text('')
  with pytest.raises(errors.UserError, match='cannot be written'):
    _parts(tmp_path / 'evaluation')


@pytest.fixture(scope='module', name='data')
def _data(world_dir):
  return tiny.open_train(world_dir)[0]


def _replaced(items, number, item):
  return [*items[:number], item, *items[number + 1 :]]


def test_a_split_by_what_is_in_it(data):
  assert score_cache.split_sha256(data) == score_cache.split_sha256(
    dataclasses.replace(data, name='moved')
  )
  caption = data.captions[3]
  other_tokens = caption.token_ids.copy()
  other_tokens[0] += 1
  last = len(data.image_ids) - 1

  def other_regions(image):
    regions = data.read_regions(image)
    return dataclasses.replace(
      regions, features=regions.features + (image == last)
    )

  found = {
    score_cache.split_sha256(dataclasses.replace(data, **changes))
    for changes in (
      {},
      {
        'captions': _replaced(
          data.captions, 3, dataclasses.replace(caption, token_ids=other_tokens)
        )
      },
      {
        'captions': _replaced(
          data.captions,
          3,
          dataclasses.replace(caption, image=caption.image + 1),
        )
      },
      {'captions': data.captions[::-1]},
      {'image_ids': _replaced(list(data.image_ids), 0, 'x')},
      {'num_regions': data.num_regions + 1},
      {'read_regions': other_regions},
    )
  }
  assert len(found) == 7


def test_an_evaluation_by_all_that_matters(data):
  config = settings.Settings()
  devices = jax.local_devices()
  parameters = {'a': {'kernel': np.ones(3, np.float32)}}

  def of(
    params=parameters, evaluation=config.evaluation, used=config, num_devices=1
  ):
    plan = tiles.make_plan(data, evaluation, num_devices)
    return score_cache.facts(
      params, data, plan, used, None, devices[:num_devices]
    )

  base = of()
  assert base == of() and base['devices'][:2] == [1, 'cpu']
  for changed in (
    of({'a': {'kernel': np.array([1, 1, 1 + 1e-7], np.float32)}}),
    of(evaluation=settings.Evaluation(tile_texts=31)),
    of(evaluation=settings.Evaluation(num_buckets=1)),
    of(
      used=dataclasses.replace(
        config, compute=settings.Compute(dtype='bfloat16')
      )
    ),
    of(used=dataclasses.replace(config, model=settings.Model(num_heads=6))),
    of(num_devices=2),
  ):
    assert changed != base
  # What does not touch the scores.
  assert base == of(used=dataclasses.replace(config, seed=3))
