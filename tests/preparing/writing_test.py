"""Tests that files do not depend on workers, parts, or being killed."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.data.prepared import schema
from tagsdc_jax.preparing import writing
from tagsdc_jax.preparing.regions import store

NUMBERS = {'train': 2 * 256 + 5, 'validation': 3, 'test': 4}
VOCABULARY = dataset.Vocabulary(9, 0, 1, 2, 3, 4, (5, 9))


@dataclasses.dataclass(frozen=True)
class Maker:
  """Makes pictures of one or two regions; every seventh is unreadable."""

  feature_size: int = 3
  value: float = 1.0
  dies_at: int = -1

  def __call__(self, pictures, made):
    for number in pictures:
      if number == self.dies_at:
        raise KeyboardInterrupt
      made(1)
      if number % 7 == 3:
        yield store.Unreadable(f'f.tsv: picture {number} is gone'), {}
        continue
      regions = 1 + number % 2
      yield (
        schema.Record(
          image_id=f'i{number}',
          path='',
          width=4,
          height=3,
          features=np.full((regions, 3), self.value * number, np.float16),
          boxes=np.tile(np.float32([0, 0, 0.5, 1, 0.5, 1]), (regions, 1)),
          confidence=np.zeros(0, np.float32),
          labels=np.arange(regions),
          captions=[
            dataset.Caption(f'c{number}', 0, np.array([5, 6]), ((0,),), 'a b')
          ],
          numbers=[number],
        ),
        {'pictures': 1, 'regions': regions},
      )


def plan(**changes):
  return writing.Plan(
    {split: range(count) for split, count in NUMBERS.items()},
    Maker(**changes),
    {'seed': 0},
  )


def finish(folder):
  made = plan()
  notes = writing.read_notes(folder, made)
  writing.finish(folder, made, notes, VOCABULARY, {})
  return notes


def hashes(folder):
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }


@pytest.fixture(name='expected', scope='module')
def _expected(tmp_path_factory):
  folder = tmp_path_factory.mktemp('expected')
  assert writing.write_shards(folder, plan(), 1)
  notes = finish(folder)
  return hashes(folder), notes


def test_shards_notes_and_what_is_read(tmp_path, expected):
  _, notes = expected
  assert [note['records'] for note in notes['train']] == [219, 220, 4]
  assert [note['num_left_out'] for note in notes['train']] == [37, 36, 1]
  assert len(notes['train'][0]['left_out']) == writing.NAMED
  assert notes['test'][0]['left_out'] == ['f.tsv: picture 3 is gone']
  assert notes['test'][0]['counts'] == {'pictures': 3, 'regions': 4}
  assert writing.write_shards(tmp_path, plan(), 1)
  finish(tmp_path)
  data = prepared.load_prepared(tmp_path, 'train')
  assert len(data.image_ids) == 443
  assert data.image_ids[3] == 'i4' and data.captions[3].caption_id == 'c4'
  assert data.read_regions(3).features[0, 0] == 4
  assert not list(tmp_path.glob('.*'))


def test_number_of_workers(tmp_path, expected):
  assert writing.write_shards(tmp_path, plan(), 2)
  finish(tmp_path)
  assert hashes(tmp_path) == expected[0]


@pytest.mark.parametrize('dies_at', [0, 100, 300, 515])
def test_continued_after_it_was_stopped(tmp_path, expected, dies_at):
  with pytest.raises(KeyboardInterrupt):
    writing.write_shards(tmp_path, plan(dies_at=dies_at), 1)
  assert not writing.check_folder(tmp_path, plan().request)
  assert writing.write_shards(tmp_path, plan(), 1)
  finish(tmp_path)
  assert hashes(tmp_path) == expected[0]
  assert writing.check_folder(tmp_path, plan().request)


def test_finished_shards_are_not_written_again(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    writing.write_shards(tmp_path, plan(dies_at=300), 1)
  # What is written now would differ.
  assert writing.write_shards(tmp_path, plan(value=2.0), 1)
  finish(tmp_path)
  data = prepared.load_prepared(tmp_path, 'train')
  first, later = (data.image_ids.index(name) for name in ('i11', 'i401'))
  assert data.read_regions(first).features[0, 0] == 11
  assert data.read_regions(later).features[0, 0] == 802


def test_parts(tmp_path, expected):
  assert not writing.write_shards(tmp_path, plan(), 1, (1, 2))
  assert not writing.write_shards(tmp_path, plan(), 1, (1, 2))
  assert writing.write_shards(tmp_path, plan(), 1, (0, 2))
  finish(tmp_path)
  assert hashes(tmp_path) == expected[0]


def test_folders_of_something_else(tmp_path):
  assert not writing.check_folder(tmp_path / 'new', {})
  with pytest.raises(KeyboardInterrupt):
    writing.write_shards(tmp_path, plan(dies_at=0), 1)
  with pytest.raises(
    errors.UserError, match=r'other arguments \(seed: 0, now 1\)'
  ):
    writing.check_folder(tmp_path, {'seed': 1})
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'thesis.tex').touch()
  with pytest.raises(errors.UserError, match='not empty and is not a prepared'):
    writing.check_folder(other, {})


def test_damaged_regions_are_never_written(tmp_path):
  with pytest.raises(errors.UserError, match='image i0: features must be fin'):
    writing.write_shards(tmp_path, plan(value=float('inf')), 1)
  assert not list(Path(tmp_path).glob('prepared*'))
