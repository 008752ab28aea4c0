"""Tests of the TFDS builder and of reading what it wrote."""

import contextlib
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tqdm

from tagsdc_jax import settings
from tagsdc_jax.data import opening
from tagsdc_jax.data.world import (
  builder,
  captions,
  dataset,
  grammar,
  oracle,
  pictures,
)
from tagsdc_jax.data.world.scenes import COLORS, SHAPES, SIZES
from tagsdc_jax.errors import UserError

NUM_PICTURES = {'train': 64, 'validation': 24, 'test': 24}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('world'))
  dataset.load_world('train', data_dir=path, size='tiny')
  return path


@pytest.mark.parametrize('split', NUM_PICTURES)
def test_load_world_fulfils_the_contract(data_dir, split):
  data = dataset.load_world(split, data_dir=data_dir, size='tiny')
  assert data.name == f'world/{split}'
  assert len(data.image_ids) == NUM_PICTURES[split]
  assert len(set(data.image_ids)) == len(data.image_ids)
  assert len(data.captions) == 5 * len(data.image_ids)
  assert len({c.caption_id for c in data.captions}) == len(data.captions)
  for image, numbers in enumerate(data.captions_of_image):
    assert [data.captions[number].image for number in numbers] == [image] * 5
    regions = data.read_regions(image)
    count = data.num_regions[image]
    assert regions.features.shape == (count, data.feature_size)
    assert regions.features.dtype == data.feature_dtype == np.float16
    assert regions.boxes.shape == (count, 7)
    assert regions.boxes.dtype == np.float32
    assert 5 <= count <= pictures.MAX_REGIONS


def test_captions_and_their_phrases(data_dir):
  data = dataset.load_world('train', data_dir=data_dir, size='tiny')
  known = {*SHAPES, *COLORS, *SIZES, *grammar.RELATIONS}
  for caption in data.captions:
    words = caption.text.split()
    assert caption.token_ids.dtype == np.int32
    assert caption.token_ids.tolist() == grammar.to_ids(words).tolist()
    assert caption.phrases == grammar.find_phrases(grammar.parse(words))
    covered = sorted(at for row in caption.phrases for at in row)
    assert covered == [
      at
      for at, word in enumerate(words)
      if word not in ('a', 'and', 'there', 'is', 'of')
    ]
    for row in caption.phrases:
      phrase = ' '.join(words[at] for at in row)
      assert phrase in known


@pytest.mark.parametrize('split', ['validation', 'test'])
def test_evaluation_captions_are_true_of_exactly_one_picture(data_dir, split):
  data = dataset.load_world(split, data_dir=data_dir, size='tiny')
  scenes = dataset.load_scenes(split, data_dir=data_dir, size='tiny')
  for caption in data.captions:
    verdicts = [oracle.judge_ids(caption.token_ids, s) for s in scenes]
    assert verdicts.count('still true') == 1
    assert verdicts.count('false') == len(scenes) - 1
    assert verdicts[caption.image] == 'still true'


def test_training_captions_are_true_of_their_picture(data_dir):
  data = dataset.load_world('train', data_dir=data_dir, size='tiny')
  scenes = dataset.load_scenes('train', data_dir=data_dir, size='tiny')
  for caption in data.captions:
    verdict = oracle.judge_ids(caption.token_ids, scenes[caption.image])
    assert verdict == 'still true'


def test_records_keep_the_order_of_the_split(data_dir):
  scenes = dataset.load_scenes('train', data_dir=data_dir, size='tiny')
  pairs = captions.make_split(0, 'train', 64, is_unique=False)
  assert scenes == [scene for scene, _ in pairs]


def test_splits_share_no_scene(data_dir):
  scenes = [
    scene
    for split in NUM_PICTURES
    for scene in dataset.load_scenes(split, data_dir=data_dir, size='tiny')
  ]
  assert len(set(scenes)) == sum(NUM_PICTURES.values())


def test_features_are_those_of_the_stored_picture(data_dir):
  data = dataset.load_world('test', data_dir=data_dir, size='tiny')
  image = dataset.load_picture('test', 3, data_dir=data_dir, size='tiny')
  assert image.size == (96, 96) and image.mode == 'RGB'
  regions = data.read_regions(3)
  again = pictures.region_features(image, regions.boxes[:, :4] * 96)
  assert np.allclose(again, regions.features, atol=0.05)
  other = dataset.load_picture('test', 4, data_dir=data_dir, size='tiny')
  wrong = pictures.region_features(other, regions.boxes[:, :4] * 96)
  assert not np.allclose(wrong, regions.features, atol=0.05)


def test_made_twice_is_the_same(data_dir, tmp_path):
  for split in NUM_PICTURES:
    one = dataset.load_world(split, data_dir=data_dir, size='tiny')
    two = dataset.load_world(split, data_dir=str(tmp_path), size='tiny')
    for image in range(len(one.image_ids)):
      a, b = one.read_regions(image), two.read_regions(image)
      assert a.features.tobytes() == b.features.tobytes()
      assert a.boxes.tobytes() == b.boxes.tobytes()
    assert [(c.caption_id, c.text, c.phrases) for c in one.captions] == [
      (c.caption_id, c.text, c.phrases) for c in two.captions
    ]
  for image in (0, 23):
    one, two = (
      dataset.load_picture('test', image, data_dir=path, size='tiny')
      for path in (data_dir, str(tmp_path))
    )
    assert one.tobytes() == two.tobytes()


def test_reading_imports_no_framework(data_dir):
  code = (
    'import sys\n'
    'from tagsdc_jax.data.world import dataset\n'
    f"args = dict(data_dir={data_dir!r}, size='tiny')\n"
    "dataset.load_world('test', **args)\n"
    "dataset.load_picture('test', 0, **args)\n"
    "found = {'tensorflow', 'torch', 'jax'} & set(sys.modules)\n"
    "sys.exit(', '.join(found) or 0)\n"
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_user_errors(data_dir, tmp_path):
  with pytest.raises(UserError, match="split .* got 'dev'"):
    dataset.load_world('dev', data_dir=data_dir, size='tiny')
  with pytest.raises(UserError, match="size .* got 'huge'"):
    dataset.load_world('test', data_dir=data_dir, size='huge')
  with pytest.raises(UserError, match='image must be 0 to 23 .* got 24'):
    dataset.load_picture('test', 24, data_dir=data_dir, size='tiny')
  blocked = tmp_path / 'file'
  blocked.write_text('not a folder')
  with pytest.raises(UserError, match='file cannot be written: Not a dir'):
    dataset.load_world('test', data_dir=str(blocked), size='tiny')


def test_a_full_disk_is_a_user_error(tmp_path, monkeypatch):
  def fill(*unused_args, **unused_options):
    raise RuntimeError('write() failed: No space left on device; at byte 303')

  monkeypatch.setattr(builder.EmbeddedWorld, 'download_and_prepare', fill)
  with pytest.raises(UserError, match='cannot be written: no space is left'):
    dataset.load_world('test', data_dir=str(tmp_path), size='tiny')


def test_making_it_is_quiet_but_for_one_bar(tmp_path, capsys, monkeypatch):
  shown = []
  monkeypatch.setattr(dataset, 'progress_bar', _record_bars(shown))
  dataset.load_world('test', data_dir=str(tmp_path), size='tiny')
  assert shown == [
    ('generating the embedded world', 112, 112),
    ('reading world/test', 24, 24),
  ]
  written = capsys.readouterr()
  assert not written.out and not written.err


def _record_bars(shown):
  """Returns a `progress_bar` that notes (description, total, done)."""

  @contextlib.contextmanager
  def progress_bar(total, description, unit):
    bar = tqdm.tqdm(total=total, file=io.StringIO())
    yield bar
    shown.append((description, total, bar.n))

  return progress_bar


@pytest.mark.parametrize(
  'damage',
  [
    lambda content: content[:100_000],
    lambda content: content[:200_000] + bytes(9000) + content[209_000:],
  ],
)
def test_a_damaged_file_is_a_user_error(data_dir, tmp_path, damage):
  folder = tmp_path / 'world'
  shutil.copytree(data_dir, folder)
  (path,) = folder.glob('embedded_world/tiny/*/*-test.array_record-*')
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(UserError, match='is corrupt .*; delete that folder'):
    dataset.load_world('test', data_dir=str(folder), size='tiny')


def test_long_captions_of_the_training_split_are_dropped(data_dir):
  def open_split(split, limit):
    return opening.open_split(
      settings.Data(root=data_dir, world_size='tiny', max_caption_tokens=limit),
      split,
    )

  every = open_split('train', None)
  lengths = [len(c.token_ids) for c in every.captions]
  assert max(lengths) == 16 and min(lengths) < 10
  assert [c.caption_id for c in open_split('train', 16).captions] == [
    c.caption_id for c in every.captions
  ]
  data = open_split('train', 10)
  assert len(data.captions) == sum(length <= 10 for length in lengths)
  assert len(data.image_ids) == len(data.captions_of_image) == 64
  for image, numbers in enumerate(data.captions_of_image):
    assert [data.captions[number].caption_id for number in numbers] == [
      every.captions[number].caption_id
      for number in every.captions_of_image[image]
      if lengths[number] <= 10
    ]
    assert {data.captions[number].image for number in numbers} <= {image}
  # Others keep every caption.
  assert len(open_split('test', 10).captions) == 5 * 24
  with pytest.raises(
    UserError,
    match='no caption of at most data.max_caption_tokens = 5 tokens; raise it',
  ):
    open_split('train', 5)
