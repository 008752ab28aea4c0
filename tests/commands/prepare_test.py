"""What `tagsdc prepare` writes, and what it finds before a run would."""

import base64
import json
import shutil
from pathlib import Path

import jax
import lmdb
import msgpack_numpy
import numpy as np
import pytest

from tagsdc_jax import main
from tagsdc_jax.data import assembling, loader, opening, uniter_lmdb
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import grammar

TOY = Path(__file__).parents[1] / 'golden' / 'recordings' / 'lmdb'


@pytest.fixture(name='root')
def _root(tmp_path):
  """LMDB folders whose numbers of boxes are known without reading them."""
  shutil.copytree(TOY / 'txt_db' / 'itm_toy.db', tmp_path / 'text')
  shutil.copytree(
    TOY / 'img_db' / 'toy' / 'feat_numbb36', tmp_path / 'feat_numbb36'
  )
  return tmp_path


def _prepare(root, *out):
  return main.main(
    [
      'prepare',
      *out,
      '--config',
      'own_small_tags',
      f'--config.data.root={root}',
      '--config.data.region_confidence=-1',
      *(
        f'--config.data.{split}_{what}={folder}'
        for split in ('train', 'validation', 'test')
        for what, folder in (('text', 'text'), ('images', 'feat_numbb36'))
      ),
    ]
  )


def _spoil_last_image(root):
  with lmdb.open(str(root / 'feat_numbb36'), lock=False) as environment:
    with environment.begin(write=True) as transaction:
      cursor = transaction.cursor()
      cursor.last()
      name, record = cursor.key(), msgpack_numpy.unpackb(cursor.value())
      features = record['features'].copy()
      features[-1, -1] = np.nan
      transaction.put(
        name, msgpack_numpy.packb(record | {'features': features})
      )
  return name.decode()


def test_good_folders(root, capsys):
  assert _prepare(root) == 0
  shown = capsys.readouterr().out.splitlines()
  assert all(line.startswith('text: 12 images') for line in shown[:3])
  # One folder for all three.
  for line, (split, other) in zip(
    shown[3:],
    (('validation', 'train'), ('test', 'train'), ('test', 'validation')),
    strict=True,
  ):
    assert line.startswith(f'{split} (text): 12 of 12 images (the first is ')
    assert (
      f'and 60 of 60 captions, word for word, are also in {other} (tex' in line
    )


def test_every_image_is_read(root, capsys):
  name = _spoil_last_image(root)
  assert _prepare(root) == 2
  shown = capsys.readouterr().err
  assert shown.count('\n') == 1
  assert f'image {name} of {root}' in shown
  assert 'features must be finite, got nan in region 26, column 23' in shown


def test_no_root(capsys, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert main.main(['prepare', '--config', 'own_small_tags']) == 2
  assert 'set --config.data.root=FOLDER' in capsys.readouterr().err


# Data sets from files: pictures of the world, and features written here.


def _write_photos(world_dir, folder, number):
  """Writes pictures and captions of the world, and its vocabulary."""
  data = world.load_world('train', data_dir=world_dir, size='tiny')
  photos = folder / 'photos'
  photos.mkdir()
  rows = ['image,caption']
  for image in range(number):
    picture = world.load_picture(
      'train', image, data_dir=world_dir, size='tiny'
    )
    picture.save(photos / f'{image}.png')
    rows += [
      f'{image}.png,{data.captions[c].text}'
      for c in data.captions_of_image[image]
    ]
  (folder / 'captions.csv').write_text('\n'.join(rows))
  (folder / 'vocab.txt').write_text('\n'.join(grammar.WORDS))


@pytest.fixture(name='own', scope='module')
def _own(world_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp('own')
  _write_photos(world_dir, folder, 20)
  return folder


def _from_files(out, own, *flags, photos='photos', captions=None):
  return main.main(
    [
      'prepare',
      str(out),
      '--captions',
      *(captions or [str(own / 'captions.csv')]),
      '--vocabulary',
      str(own / 'vocab.txt'),
      '--phrases',
      'words',
      *(['--images', str(own / photos)] if photos else []),
      *flags,
    ]
  )


PIXELS = ('--extractor', 'pixels')


def test_own_photos(own, tmp_path, capsys):
  out = tmp_path / 'set'
  assert _from_files(out, own, *PIXELS, '--validation', '3') == 0
  shown = capsys.readouterr().out
  assert 'train: 15 pictures, 75 captions' in shown
  assert 'validation: 3 pictures, 15 captions' in shown
  assert 'validation or test, so they were drawn, with --seed 0' in shown
  assert f'page: {out}/page.html' in shown
  data = prepared.load_prepared(out, 'train')
  assert data.vocabulary.words == grammar.WORDS
  caption = data.captions[0]
  words = [grammar.WORDS[i] for i in caption.token_ids]
  assert ' '.join(words) == caption.text
  assert [words[p] for (p,) in caption.phrases] == [
    word for word in words if word not in ('a', 'of', 'is', 'there', 'and')
  ]
  # Nothing is done again, and the same arguments are needed.
  before = (out / 'dataset_info.json').stat().st_mtime_ns
  assert _from_files(out, own, *PIXELS, '--validation', '3') == 0
  assert (out / 'dataset_info.json').stat().st_mtime_ns == before
  assert f'{out} is complete already' in capsys.readouterr().out
  assert _from_files(out, own, *PIXELS, '--validation', '4') == 2
  assert 'other arguments (validation: 3.0, now 4.0)' in (
    capsys.readouterr().err
  )


def test_photos_that_cannot_be_read(own, tmp_path, capsys):
  shutil.copytree(own / 'photos', tmp_path / 'photos')
  (tmp_path / 'photos' / '7.png').write_bytes(b'')
  (tmp_path / 'photos' / '9.png').unlink()
  flags = (*PIXELS, '--images', str(tmp_path / 'photos'))
  assert _from_files(tmp_path / 'a', own, *flags) == 2
  line = capsys.readouterr().err
  assert line.count('\n') == 1 and '1 of 20 pictures would be left out' in line
  assert 'missing are 9.png' in line and '--max-left-out' in line
  flags = (*flags, '--max-left-out', '0.05')
  assert _from_files(tmp_path / 'b', own, *flags) == 2
  assert '2 of 20 pictures would be left out' in capsys.readouterr().err
  # Only the share differs: what was written is used.
  flags = (*flags[:-1], '0.1')
  assert _from_files(tmp_path / 'b', own, *flags) == 0
  shown = capsys.readouterr().out
  assert '7.png cannot be read as a photo: it is empty' in shown
  splits = [prepared.load_prepared(tmp_path / 'b', s) for s in opening.SPLITS]
  names = {name for data in splits for name in data.image_ids}
  assert names == {f'{i}.png' for i in range(20)} - {'7.png', '9.png'}


def test_captions_with_special_tokens_are_left_out(own, tmp_path, capsys):
  text = (own / 'captions.csv').read_text()
  lines = text.splitlines()
  lines[2] = '0.png,a [MASK] circle'
  (tmp_path / 'captions.csv').write_text('\n'.join(lines))
  captions = [str(tmp_path / 'captions.csv')]
  assert _from_files(tmp_path / 'set', own, *PIXELS, captions=captions) == 0
  assert '[MASK] or [PAD], and were left out' in capsys.readouterr().out
  splits = [prepared.load_prepared(tmp_path / 'set', s) for s in opening.SPLITS]
  assert sum(len(data.captions) for data in splits) == 99


def _write_butd(path, number, size):
  encode = lambda values: base64.b64encode(values.tobytes()).decode()
  rng = np.random.default_rng(0)
  with path.open('w') as file:
    for image in range(number):
      corners = np.sort(rng.random((4, 2, 2)), axis=1).reshape(4, 4)
      boxes = (corners * [*size, *size]).astype(np.float32)
      features = rng.random((4, 6), np.float32)
      fields = [image, *size, 4, encode(boxes), encode(features)]
      file.write('\t'.join(map(str, fields)) + '\n')


def test_features_of_a_file_and_a_caption_file_per_split(own, tmp_path, capsys):
  _write_butd(tmp_path / 'butd.tsv', 8, (40, 30))
  parts = {'train': range(5), 'val': range(5, 7), 'test': [7]}
  for split, images in parts.items():
    entries = [
      {'image': f'x/{i}.jpg', 'caption': ['a red circle', 'a cross']}
      for i in images
    ]
    (tmp_path / f'{split}.json').write_text(json.dumps(entries))
  captions = [f'{split}={tmp_path}/{split}.json' for split in parts]
  flags = ('--regions', str(tmp_path / 'butd.tsv'), '--max-regions', '3')
  out = tmp_path / 'set'
  assert _from_files(out, own, *flags, photos=None, captions=captions) == 0
  shown = capsys.readouterr().out
  assert 'boxes: BUTD tsv: 6 numbers per region' in shown
  assert '5 regions beyond the limit were left out' in shown
  data = prepared.load_prepared(out, 'validation')
  assert list(data.image_ids) == ['x/5.jpg', 'x/6.jpg']
  assert data.read_regions(1).features.shape == (3, 6)
  assert [c.text for c in data.captions] == ['a red circle', 'a cross'] * 2


def test_a_copy_of_what_a_config_reads(root, tmp_path, capsys):
  assert _prepare(root, str(tmp_path / 'copy')) == 0
  assert 'train: 12 pictures, 60 captions' in capsys.readouterr().out
  ours = prepared.load_prepared(tmp_path / 'copy', 'train')
  theirs = uniter_lmdb.load_uniter_lmdb(root / 'text', root / 'feat_numbb36')
  assert list(ours.image_ids) == list(theirs.image_ids)
  made = [
    loader.MicroBatches(d, assembling.shapes_of(d), 0, 2, 5)
    for d in (ours, theirs)
  ]
  jax.tree.map(np.testing.assert_array_equal, made[0][3], made[1][3])


@pytest.mark.parametrize(
  'flags, message',
  [
    ((), 'pass a folder OUT and --captions'),
    (('x', '--images', 'photos'), 'pass a folder OUT and --captions'),
    (('x', '--captions', 'c.csv'), 'regions are missing'),
    (
      ('x', '--captions', 'c', '--regions', 'r', '--extractor', 'grid'),
      '--extractor computes regions of photos',
    ),
    (
      ('x', '--captions', 'c', '--config', 'world_tags'),
      '--config and --captions, --regions or --images exclude each other',
    ),
    (('x', '--captions', 'trian=c.csv'), "'trian' is no split: use one of"),
    (('x', '--captions', 'gs://a/c.csv'), 'gs:// is not supported'),
    (('x', '--captions', 'test=gs://a/c.csv'), 'gs:// is not supported'),
    (('x', '--captions', 'no.csv', '--images', '.'), 'no.csv is missing'),
    (('x', '--validation', '1.5'), 'must be a whole number, or a share'),
    (('x', '--part', '3/2'), 'must be I/N with 1 <= I <= N'),
    (('x', '--workers', '0'), 'must be'),
  ],
)
def test_flags_that_do_not_fit(flags, message, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'vocab.txt').write_text('\n'.join(grammar.WORDS))
  if '--images' in flags and '--captions' in flags:
    flags = (*flags, '--vocabulary', 'vocab.txt', '--phrases', 'none')
  try:
    assert main.main(['prepare', *flags]) == 2
  except SystemExit as stop:
    assert stop.code == 2
  shown = capsys.readouterr().err
  assert message in shown and shown.count('\n') == 1
  assert not (tmp_path / 'x').exists()
