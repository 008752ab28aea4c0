"""Several folders as one data set: what is the same image, and what is not."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import lmdb
import lz4.frame
import msgpack
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.data import assembling, dataset, loader, opening

TOY = Path(__file__).parents[1] / 'golden' / 'recordings' / 'lmdb'
STORE = TOY / 'img_db' / 'toy' / 'feat_numbb36'
META = {'UNK': 1, 'CLS': 2, 'SEP': 3, 'MASK': 4, 'v_range': [5, 200]}
NAMES = list(
  json.loads((TOY / 'txt_db' / 'itm_toy.db' / 'img2txts.json').read_text())
)


def _write_text(folder, captions, **meta):
  """Writes {caption id: (image, tokens)}."""
  folder.mkdir()
  with lmdb.open(str(folder), map_size=1 << 20, lock=False) as environment:
    with environment.begin(write=True) as transaction:
      for key, (image, tokens) in captions.items():
        transaction.put(
          key.encode(),
          lz4.frame.compress(
            msgpack.packb({'input_ids': tokens, 'img_fname': image})
          ),
        )
  files = {
    'meta': META | meta,
    'id2len': dict.fromkeys(captions, 1),
    'txt2img': {key: image for key, (image, _) in captions.items()},
    'img2txts': {},
  }
  for name, content in files.items():
    (folder / f'{name}.json').write_text(json.dumps(content))
  return str(folder)


def _open(texts, images, root='', **changes):
  return opening.open_split(
    settings.Data(
      source='uniter_lmdb',
      root=root,
      train_text=tuple(map(str, texts)),
      train_images=tuple(map(str, images)),
      **changes,
    ),
    'train',
  )


@pytest.fixture(name='parts')
def _parts(tmp_path):
  """Two text folders: images 0 to 4, and 3 to 7 with another order."""
  first = {f'a{i}': (NAMES[i // 2], [10 + i, 11]) for i in range(10)}
  second = {f'b{i}': (NAMES[7 - i // 2], [30 + i, 31]) for i in range(10)}
  # Caption a7 of image 3 is in both; a6 is a name that both have taken.
  second |= {'a7': first['a7'], 'a6': (NAMES[3], [99])}
  return [
    _write_text(tmp_path / 'a', first),
    _write_text(tmp_path / 'b', second),
  ]


def _copies(tmp_path):
  """Paths that lead to the one store."""
  (tmp_path / 'link').symlink_to(STORE.parent)
  holder = tmp_path / 'holder' / 'feat_numbb36'
  holder.mkdir(parents=True)
  (holder / 'data.mdb').symlink_to(STORE / 'data.mdb')
  return [
    tmp_path / 'link' / 'feat_numbb36',
    os.path.relpath(STORE),
    holder.parent,
  ]


@pytest.mark.parametrize('other', range(3))
def test_an_image_of_two_folders_is_one(other, parts, tmp_path):
  data = _open(parts, [STORE, _copies(tmp_path)[other]])
  assert list(data.image_ids) == [*NAMES[:5], *NAMES[7:4:-1]]
  assert len(data.captions) == 10 + 10 + 1
  assert [data.captions[c].caption_id for c in data.captions_of_image[3]] == [
    'a6',
    'a7',
    'b8',
    'b9',
    'a6',
  ]
  for image, own in enumerate(data.captions_of_image):
    assert all(data.captions[c].image == image for c in own)
  assert sum(map(len, data.captions_of_image)) == 21
  alone = [_open([part], [STORE]) for part in parts]
  for image, name in enumerate(data.image_ids):
    part = alone[0] if image < 5 else alone[1]
    np.testing.assert_array_equal(
      data.read_regions(image).features,
      part.read_regions(part.image_ids.index(name)).features,
    )
  # None is its own negative, nor are its captions.
  batches = loader.MicroBatches(data, assembling.shapes_of(data), 0, 1, 5)
  for number in range(30):
    batch = batches[number]
    own = data.image_ids[batch.image_numbers[0]]
    images, texts = batches.pool(number, batch.image_numbers.tolist())
    assert own not in [data.image_ids[i] for i in images]
    assert own not in [data.image_ids[data.captions[c].image] for c in texts]


def test_equal_names_in_different_stores_stay_different(parts, tmp_path):
  shutil.copytree(STORE, tmp_path / 'copy' / STORE.name)
  data = _open(parts, [STORE, tmp_path / 'copy'])
  assert list(data.image_ids) == [
    *NAMES[:5],
    *NAMES[7:4:-1],
    NAMES[4],
    NAMES[3],
  ]
  assert len(data.captions) == 22


def test_sets_that_share_nothing_are_one_after_the_other(parts, tmp_path):
  shutil.copytree(STORE, tmp_path / 'copy' / STORE.name)
  data = _open(parts, [STORE, tmp_path / 'copy'])
  a, b = _open(parts[:1], [STORE]), _open(parts[1:], [STORE])
  assert list(data.image_ids) == [*a.image_ids, *b.image_ids]
  assert [c.caption_id for c in data.captions] == [
    c.caption_id for c in [*a.captions, *b.captions]
  ]
  assert data.captions_of_image == [
    *a.captions_of_image,
    *(tuple(c + 10 for c in own) for own in b.captions_of_image),
  ]
  np.testing.assert_array_equal(
    data.num_regions, np.concatenate([a.num_regions, b.num_regions])
  )


def test_a_folder_named_twice_is_refused(parts, tmp_path):
  (tmp_path / 'again').symlink_to(parts[0])
  for again in (parts[0], parts[0] + '/', tmp_path / 'again'):
    with pytest.raises(
      errors.UserError,
      match='data.train_text must name each '
      'folder once, got .*/a and .*which are the same',
    ):
      _open([parts[0], again], [STORE])


def test_a_missing_root_is_asked_for_relative_paths_only():
  for text, message in (
    ('txt_db/a', 'data.root must name the folder that con'),
    ('/no/such/a', 'text folder /no/such/a is missing'),
  ):
    with pytest.raises(errors.UserError, match=message):
      _open([text], [STORE])


@pytest.mark.parametrize(
  'split, text',
  [
    ('train', ('<>/a <>/b',)),
    ('train', ('<>/a;<>/b',)),
    ('train', ('<>/a:<>/b',)),
    ('train', ('<>/with', 'comma')),
    ('test', '<>/a,<>/b'),
    ('validation', '<>/b '),
  ],
)
def test_names_that_were_written_together_or_cut(split, text, parts, tmp_path):
  (tmp_path / 'with,comma').symlink_to(parts[0])
  text = (
    [x.replace('<>', str(tmp_path)) for x in text]
    if split == 'train'
    else text.replace('<>', str(tmp_path))
  )
  message = (
    'commas between several folders, and quotes around one whose name '
    'contains a comma'
    if split == 'train'
    else 'one folder'
  )
  with pytest.raises(
    errors.UserError,
    match=(f'^data.{split}_text: .* is missing; pass {message}$'),
  ):
    opening.open_contents(
      settings.Data(
        source='uniter_lmdb',
        **{f'{split}_text': text, f'{split}_images': str(STORE)},
      ),
      split,
    )


@pytest.mark.parametrize(
  'one, other, message',
  [
    (
      {'toker': 'bert-base-cased'},
      {'bert': 'bert-base-uncased'},
      'a and b must share one vocabulary, but its tokenizer is bert-base-cased '
      'and bert-base-uncased; tokenize',
    ),
    ({}, {'MASK': 5}, 'its mask is 4 and 5'),
    ({}, {'v_range': [5, 201]}, 'its size is 200 and 201'),
    ({}, {'v_range': [6, 200]}, r'cannot be joined: v_range is \(5, 200\) and'),
    ({'toker': 'bert-base-cased'}, {'toker': 'models/bert-base-cased/'}, None),
    ({'toker': 'bert-base-cased'}, {}, None),
  ],
)
def test_vocabularies_of_two_folders(one, other, message, tmp_path):
  parts = [
    _write_text(tmp_path / name, {'c': (NAMES[i], [9])}, **meta)
    for i, (name, meta) in enumerate((('a', one), ('b', other)))
  ]
  if message is None:
    assert len(_open(parts, [STORE]).captions) == 2
    return
  with pytest.raises(errors.UserError, match=message):
    _open(parts, [STORE])


def test_contents_are_those_of_the_split(parts):
  config = settings.Data(
    source='uniter_lmdb', train_text=tuple(parts), train_images=(str(STORE),)
  )
  data = opening.open_split(config, 'train')
  contents = opening.open_contents(config, 'train')
  assert contents == dataset.contents_of(data)
  assert len(contents.image_keys) == 8 and len(contents.captions) == 21


def test_contents_need_no_region_features(parts, tmp_path):
  store = tmp_path / 'images' / 'feat_numbb36'
  store.mkdir(parents=True)
  (store / 'data.mdb').write_bytes(b'')
  contents = opening.open_contents(
    settings.Data(
      source='uniter_lmdb',
      train_text=(parts[0],),
      train_images=(str(store.parent),),
    ),
    'train',
  )
  assert contents.image_keys == {
    (str(store / 'data.mdb'), name) for name in NAMES[:5]
  }


def test_the_first_images_keep_their_identity(parts):
  data = _open(parts, [STORE])
  assert opening.first_images(data, 3).image_keys == data.image_keys[:3]


def test_images_of_a_source_that_names_no_store():
  data = dataset.RetrievalDataset(
    'a',
    dataset.Vocabulary(9, 0, 1, 2, 3, 4, (5, 9)),
    [],
    ['x', 'y'],
    [(), ()],
    lambda i: None,
    np.ones(2, np.int32),
    3,
    np.dtype(np.float32),
  )
  assert data.image_keys == [('a', 'x'), ('a', 'y')]
  other = dataclasses.replace(data, name='b', image_keys=())
  assert len(opening.join_datasets(data, other).image_ids) == 4
