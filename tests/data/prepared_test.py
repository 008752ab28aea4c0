"""Tests that prepared data are what was written, or that a line says why."""

import dataclasses
import json
import pickle
import shutil

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tagsdc_jax import errors, settings
from tagsdc_jax.data import assembling, loader, opening
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.data.prepared import schema
from tagsdc_jax.preparing import copying, writing


def copy(data, folder):
  """Writes splits as a prepared data set."""
  plan = writing.Plan(
    {
      split: [(split, image) for image in range(len(part.image_ids))]
      for split, part in data.items()
    },
    copying.Copier(data),
    {'from': 'a test'},
  )
  assert writing.write_shards(folder, plan, 1)
  writing.finish(
    folder,
    plan,
    writing.read_notes(folder, plan),
    data['train'].vocabulary,
    {'report': {}},
  )


@pytest.fixture(name='world', scope='module')
def _world(world_dir):
  config = settings.Data(root=world_dir, world_size='tiny')
  return {split: opening.open_split(config, split) for split in opening.SPLITS}


@pytest.fixture(name='written', scope='module')
def _written(world, tmp_path_factory):
  folder = tmp_path_factory.mktemp('prepared') / 'world'
  copy(world, folder)
  return folder


@pytest.fixture(name='folder')
def _folder(written, tmp_path):
  return shutil.copytree(written, tmp_path / 'set')


def only(folder, pattern):
  (path,) = folder.glob(pattern)
  return path


@pytest.mark.parametrize('split', opening.SPLITS)
def test_captions_and_regions_are_the_same(world, written, split):
  data, original = prepared.load_prepared(written, split), world[split]
  assert data.vocabulary == original.vocabulary
  for ours, theirs in zip(data.captions, original.captions, strict=True):
    np.testing.assert_array_equal(ours.token_ids, theirs.token_ids)
    assert dataclasses.replace(ours, token_ids=theirs.token_ids) == theirs
  assert list(data.image_ids) == list(original.image_ids)
  assert data.captions_of_image == original.captions_of_image
  np.testing.assert_array_equal(data.num_regions, original.num_regions)
  for image in range(len(original.image_ids)):
    ours, theirs = data.read_regions(image), original.read_regions(image)
    np.testing.assert_array_equal(ours.features, theirs.features)
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    assert ours.features.dtype == np.float16


def test_micro_batches_are_the_same(world, written):
  made = [
    loader.MicroBatches(data, assembling.shapes_of(data), 3, 4, 20)
    for data in (world['train'], prepared.load_prepared(written, 'train'))
  ]
  for number in (0, 7, 50):
    jax.tree.map(np.testing.assert_array_equal, *(m[number] for m in made))


def test_captions_of_a_picture_need_not_be_neighbors(world, tmp_path):
  """As in UNITER's folders, whose order of captions is their own."""
  data = world['test']
  order = np.random.default_rng(0).permutation(len(data.captions))
  places = {int(number): place for place, number in enumerate(order)}
  mixed = dataclasses.replace(
    data,
    captions=[data.captions[i] for i in order],
    captions_of_image=[
      tuple(sorted(places[c] for c in own)) for own in data.captions_of_image
    ],
  )
  copy(dict.fromkeys(opening.SPLITS, mixed), tmp_path / 'mixed')
  found = prepared.load_prepared(tmp_path / 'mixed', 'test')
  assert [c.caption_id for c in found.captions] == [
    c.caption_id for c in mixed.captions
  ]
  assert found.captions_of_image == mixed.captions_of_image


def test_tfds_reads_it_without_this_package(written):
  """All fields, by the description that lies in the folder."""
  builder = tfds.builder_from_directory(written)
  record = builder.as_data_source('train')[5]
  regions = len(record['boxes'])
  assert record['features'].shape == (regions, 240)
  assert record['features'].dtype == np.float16
  assert record['boxes'].shape == (regions, 6) == (record['num_regions'], 6)
  assert record['image_id'] == b'train-00005'
  assert len(record['texts']) == len(record['caption_ids']) == 5
  assert sum(record['caption_lengths']) == len(record['token_ids'])
  assert sum(record['phrase_lengths']) == len(record['phrase_positions'])
  captions = tfds.builder_from_directory(written / schema.CAPTIONS_FOLDER)
  same = captions.as_data_source('train')[5]
  assert set(record) - set(same) == {
    'features',
    'boxes',
    'confidence',
    'labels',
  }
  assert all(np.array_equal(same[key], record[key]) for key in same)
  assert builder.info.splits['train'].num_examples == 64


def test_readers_can_be_pickled(written):
  data = prepared.load_prepared(written, 'test')
  read = pickle.loads(pickle.dumps(data.read_regions))
  np.testing.assert_array_equal(read(3).boxes, data.read_regions(3).boxes)


def test_source_of_the_settings(written, world_dir):
  config = settings.Data(source='auto', root=str(written), max_caption_tokens=9)
  data = opening.open_split(config, 'train')
  assert max(len(c.token_ids) for c in data.captions) == 9
  contents = opening.open_contents(config, 'train')
  assert contents.image_keys == frozenset(data.image_keys)
  with pytest.raises(errors.UserError, match='data.root must be the folder'):
    opening.open_split(settings.Data(source='prepared'), 'train')
  with pytest.raises(errors.UserError, match="UNITER's LMDB format"):
    opening.open_split(settings.Data(source='auto', root=world_dir), 'train')


def test_another_vocabulary_is_refused(folder, tmp_path):
  words = (folder / schema.VOCABULARY_FILE).read_text('utf-8')
  path = tmp_path / 'vocab.txt'
  path.write_text(words + 'more\n', 'utf-8')
  with pytest.raises(errors.UserError, match='size must be 30 .* got 31'):
    prepared.load_prepared(folder, 'test', str(path))


def refused(folder, split='test'):
  """Returns the line that opening a split, or reading all of it, raises."""
  with pytest.raises(errors.UserError) as found:
    data = prepared.load_prepared(folder, split)
    for image in range(len(data.image_ids)):
      data.read_regions(image)
  assert '\n' not in str(found.value)
  assert str(folder) in str(found.value)
  return str(found.value)


def test_missing_and_unfinished_folders(folder, tmp_path):
  assert 'is no prepared data set; make one' in refused(tmp_path / 'no')
  (folder / 'dataset_info.json').unlink()
  assert 'run it again to continue' in refused(folder)


def test_missing_split(folder):
  info = json.loads((folder / 'dataset_info.json').read_text())
  info['splits'] = [s for s in info['splits'] if s['name'] != 'test']
  (folder / 'dataset_info.json').write_text(json.dumps(info))
  assert 'has no split test, only' in refused(folder)


def test_another_tfds_data_set(folder, world_dir):
  other = only(folder.__class__(world_dir), '*/tiny/*')
  assert 'is the TFDS data set embedded_world' in refused(other)


def test_another_version(folder):
  path = folder / 'dataset_info.json'
  path.write_text(path.read_text().replace('1.0.0', '9.0.0'))
  assert 'has records of version 9.0.0, expected 1.0.0' in refused(folder)


@pytest.mark.parametrize('name', ['dataset_info.json', 'features.json'])
def test_damaged_description(folder, name):
  (folder / name).write_text('{"')
  assert 'is damaged' in refused(folder)


@pytest.mark.parametrize('part', ['.', schema.CAPTIONS_FOLDER])
@pytest.mark.parametrize('how', ['missing', 'truncated', 'flipped', 'other'])
def test_damaged_shards(folder, part, how):
  path = only(folder / part, 'prepared-test.*')
  content = path.read_bytes()
  if how == 'missing':
    path.unlink()
  elif how == 'truncated':
    path.write_bytes(content[: len(content) // 2])
  elif how == 'flipped':
    # Within the records: what follows them is padding.
    middle = 5000
    path.write_bytes(
      content[:middle]
      + bytes(255 - x for x in content[middle : middle + 100])
      + content[middle + 100 :]
    )
  else:
    shutil.copy(only(folder / part, 'prepared-validation.*'), path)
  assert 'damaged' in refused(folder)
