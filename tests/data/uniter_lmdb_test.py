"""Reader of UNITER's LMDB folders, against recordings and damaged folders.

What was recorded, and where it comes from, is said in golden/README.md.
"""

import concurrent.futures
import functools
import io
import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path

import lmdb
import lz4.frame
import msgpack
import msgpack_numpy
import numpy as np
import pytest

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import uniter_lmdb
from tagsdc_jax.errors import UserError

_RECORDED = Path(__file__).parents[1] / 'golden' / 'recordings'
_TOY = _RECORDED / 'lmdb'
_TEXT = _TOY / 'txt_db' / 'itm_toy.db'
_IMAGES = _TOY / 'img_db' / 'toy'
_ALL = _TOY / 'img_db_all' / 'toy'
_THRESHOLD = 'feat_th0.2_max100_min10'
_SETTINGS_NAMES = {
  'conf_threshold': 'data.region_confidence',
  'max_boxes': 'data.max_regions',
  'min_boxes': 'data.min_regions',
}


@pytest.fixture(name='expected', scope='module')
def _expected():
  with np.load(_RECORDED / 'lmdb_expected.npz') as stored:
    return dict(stored)


# Small folders written here: two images with two captions and one caption.

_META = {'UNK': 1, 'CLS': 2, 'SEP': 3, 'MASK': 4, 'v_range': [5, 20]}
_RECORDS = {
  'c0': {
    'input_ids': [5, 6, 7],
    'img_fname': 'a.npz',
    'raw': 'five six.',
    'tree': {'node': [{'ids': [0]}], 'relation': [{'ids': [0, 2]}]},
  },
  'c1': {'input_ids': [8], 'img_fname': 'b.npz'},
  'c2': {'input_ids': [9, 10], 'img_fname': 'a.npz', 'tree': {}},
}
_TXT2IMG = {'c0': 'a.npz', 'c1': 'b.npz', 'c2': 'a.npz'}
_IMG2TXTS = {'b.npz': ['c1'], 'a.npz': ['c0', 'c2']}


def _image(num_regions, seed=0, feature_size=3, dtype=np.float16):
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(num_regions, feature_size))
  return {
    'features': features.astype(dtype),
    'norm_bb': _boxes(rng, num_regions).astype(np.float16),
    'conf': np.linspace(1, 0, num_regions).astype(np.float16),
  }


def _boxes(rng, num_regions):
  corners = np.sort(rng.uniform(size=(num_regions, 2, 2)), axis=1)
  return np.concatenate(
    [corners[:, 0], corners[:, 1], corners[:, 1] - corners[:, 0]], axis=1
  )


def _write_lmdb(folder, values):
  folder.mkdir(parents=True)
  with lmdb.open(str(folder), map_size=1 << 24, lock=False) as environment:
    with environment.begin(write=True) as transaction:
      for key, value in values.items():
        transaction.put(key.encode(), value)


def _write_text(folder, records=None, **files):
  records = _RECORDS if records is None else records
  _write_lmdb(
    folder,
    {
      key: value
      if isinstance(value, bytes)
      else lz4.frame.compress(msgpack.packb(value))
      for key, value in records.items()
    },
  )
  contents = {
    'meta': _META,
    'id2len': dict.fromkeys(records, 1),
    'txt2img': _TXT2IMG,
    'img2txts': _IMG2TXTS,
  } | files
  for name, content in contents.items():
    if content is not None:
      (folder / f'{name}.json').write_text(
        content if isinstance(content, str) else json.dumps(content)
      )
  return folder


def _write_images(folder, records=None):
  if records is None:
    records = {'a.npz': _image(3), 'b.npz': _image(5, seed=1)}
  _write_lmdb(
    folder,
    {
      key: value if isinstance(value, bytes) else msgpack_numpy.packb(value)
      for key, value in records.items()
    },
  )
  return folder


def _load(tmp_path, records=None, images=None, vocabulary_file=None, **files):
  text = _write_text(tmp_path / 'text', records, **files)
  folder = _write_images(tmp_path / 'images' / 'feat_numbb36', images)
  return uniter_lmdb.load_uniter_lmdb(
    text, folder, vocabulary_file=vocabulary_file
  )


# Recordings of the reference reader.


@pytest.mark.parametrize(
  'folder, options, kind',
  [
    (_IMAGES, {'conf_threshold': 0.2, 'compressed': False}, 'th'),
    (_IMAGES, {'conf_threshold': 0.2, 'compressed': True}, 'th'),
    (_IMAGES / _THRESHOLD, {}, 'th'),
    (_IMAGES / f'{_THRESHOLD}_compressed', {'max_boxes': 100}, 'th'),
    (_IMAGES, {'conf_threshold': -1, 'compressed': False}, 'fixed'),
    (
      _IMAGES,
      {'conf_threshold': -1, 'num_boxes': 36, 'compressed': True},
      'fixed',
    ),
    (_IMAGES / 'feat_numbb36', {}, 'fixed'),
    (_ALL, {'compressed': False}, 'th'),
    (_ALL, {'compressed': True}, 'th'),
    (_ALL / 'all', {'conf_threshold': 0.2}, 'th'),
  ],
)
def test_images_as_the_reference_reads_them(folder, options, kind, expected):
  data = uniter_lmdb.load_uniter_lmdb(_TEXT, folder, **options)
  assert data.feature_size == 24 and data.feature_dtype == np.float16
  assert data.num_regions.dtype == np.int32
  for image, image_id in enumerate(data.image_ids):
    regions = data.read_regions(image)
    wanted = expected[f'img/{kind}/{image_id}/features']
    assert regions.features.dtype == np.float16
    assert regions.boxes.dtype == np.float32
    np.testing.assert_array_equal(regions.features.astype(np.float32), wanted)
    np.testing.assert_array_equal(
      regions.boxes, expected[f'img/{kind}/{image_id}/boxes7']
    )
    bound = expected[f'img/{kind}/{image_id}/name2nbb']
    if 'all' in str(folder.name) or folder == _ALL:
      bound = len(wanted)
    assert data.num_regions[image] == bound
    assert len(wanted) <= bound


def test_captions_as_the_reference_reads_them(expected):
  data = uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES / _THRESHOLD)
  records = json.loads((_RECORDED / 'lmdb_txt_records.json').read_text())
  img2txts = json.loads((_TEXT / 'img2txts.json').read_text())
  assert data.name == 'itm_toy.db'
  assert [caption.caption_id for caption in data.captions] == list(records)
  for caption, record in zip(data.captions, records.values(), strict=True):
    np.testing.assert_array_equal(
      caption.token_ids, expected[f'txt/{caption.caption_id}/input_ids']
    )
    assert caption.token_ids.dtype == np.int32
    np.testing.assert_array_equal(
      captions_lib.pad_caption(
        caption.token_ids, len(caption.token_ids), data.vocabulary
      ),
      expected[f'txt/{caption.caption_id}/combined'],
    )
    assert data.image_ids[caption.image] == record['img_fname']
    assert caption.text == record['sentence']
    assert caption.phrases == tuple(
      tuple(phrase['ids'])
      for section in ('node', 'attribute', 'relation')
      for phrase in record['tree'][section]
      if phrase.get('ids')
    )
  assert list(data.image_ids) == list(img2txts)
  for image_id, numbers in zip(
    data.image_ids, data.captions_of_image, strict=True
  ):
    assert img2txts[image_id] == [
      data.captions[number].caption_id for number in numbers
    ]


def test_vocabulary_of_meta_json_and_of_a_file(tmp_path):
  words = json.loads((_TEXT / 'vocab.json').read_text())
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(words) + '\n')
  plain = uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES / _THRESHOLD).vocabulary
  named = uniter_lmdb.load_uniter_lmdb(
    _TEXT, _IMAGES / _THRESHOLD, vocabulary_file=path
  ).vocabulary
  assert plain.size == named.size == 211
  assert (plain.pad, plain.unk, plain.cls, plain.sep, plain.mask) == (
    0,
    5,
    6,
    7,
    8,
  )
  assert plain.random_range == named.random_range == (9, 211)
  assert plain.words == () and named.words == tuple(words)


def test_max_tokens_drops_captions_but_no_image():
  data = uniter_lmdb.load_uniter_lmdb(
    _TEXT, _IMAGES / _THRESHOLD, max_tokens=10
  )
  id2len = json.loads((_TEXT / 'id2len.json').read_text())
  assert [caption.caption_id for caption in data.captions] == [
    caption_id for caption_id, length in id2len.items() if length <= 10
  ]
  assert len(data.image_ids) == len(data.captions_of_image) == 12
  assert () in data.captions_of_image
  for image, numbers in enumerate(data.captions_of_image):
    assert all(data.captions[number].image == image for number in numbers)
  with pytest.raises(UserError, match='max_tokens = 1 tokens, got 60 captions'):
    uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES / _THRESHOLD, max_tokens=1)


# Sharing, threads, processes.


def _sum_of_features(read_regions):
  return float(read_regions(0).features.astype(np.float64).sum())


def _is_same_after_fork(read_regions):
  # Run in a fresh process: forking one that runs JAX's threads can hang.
  wanted = _sum_of_features(read_regions)
  child = os.fork()
  if child == 0:
    os._exit(0 if _sum_of_features(read_regions) == wanted else 1)
  return os.waitpid(child, 0)[1] == 0


def test_shared_pickled_and_forked():
  first = uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES / _THRESHOLD)
  second = uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES / _THRESHOLD)
  copied = pickle.loads(pickle.dumps(second))
  wanted = _sum_of_features(first.read_regions)
  assert _sum_of_features(copied.read_regions) == wanted
  with multiprocessing.get_context('spawn').Pool(1) as pool:
    assert pool.map(_sum_of_features, [second.read_regions]) == [wanted]
    assert pool.map(_is_same_after_fork, [second.read_regions]) == [True]


def test_threads():
  data = pickle.loads(
    pickle.dumps(uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES / _THRESHOLD))
  )
  images = list(range(12)) * 20
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    read = list(pool.map(data.read_regions, images))
  for image, regions in zip(images, read, strict=True):
    np.testing.assert_array_equal(
      regions.features, data.read_regions(image).features
    )


def test_a_folder_written_anew_is_read_anew(tmp_path):
  folder = tmp_path / 'feat_numbb36'
  text = _write_text(tmp_path / 'text')
  for seed in (3, 4):
    records = {name: _image(2, seed) for name in ('a.npz', 'b.npz')}
    data = uniter_lmdb.load_uniter_lmdb(text, _write_images(folder, records))
    np.testing.assert_array_equal(
      data.read_regions(0).features, records['a.npz']['features']
    )
    shutil.rmtree(folder)


# Folders written here.


def test_small_folder_by_hand(tmp_path):
  data = _load(tmp_path)
  assert list(data.image_ids) == ['b.npz', 'a.npz']
  assert [caption.image for caption in data.captions] == [1, 0, 1]
  assert data.captions_of_image == [(1,), (0, 2)]
  assert [caption.phrases for caption in data.captions] == [
    ((0,), (0, 2)),
    (),
    (),
  ]
  assert [caption.text for caption in data.captions] == [
    'five six.',
    '[8]',
    '[9] [10]',
  ]
  assert data.vocabulary.size == 20
  assert len(data.read_regions(0).features) == 5
  np.testing.assert_array_equal(
    data.read_regions(1).features, _image(3)['features']
  )


def test_image_only_in_txt2img_comes_last(tmp_path):
  data = _load(tmp_path, img2txts={'a.npz': ['c0']})
  assert list(data.image_ids) == ['a.npz', 'b.npz']


def test_image_of_the_record_alone(tmp_path):
  data = _load(tmp_path, txt2img={})
  assert [caption.image for caption in data.captions] == [1, 0, 1]


@pytest.mark.parametrize(
  'name, options, expected',
  [
    # conf is 1, 0.9, .. 0.1, 0 for the 11 regions of image a.
    ('all', {}, 10),
    ('all', {'min_boxes': 1}, 8),
    ('all', {'min_boxes': 1, 'max_boxes': 4}, 4),
    ('all', {'min_boxes': 1, 'conf_threshold': 0.55}, 5),
    ('all', {'min_boxes': 50}, 11),
    ('copied_folder', {'min_boxes': 1}, 8),
    ('feat_th0.2_max100_min1', {}, 11),
    ('feat_numbb4', {}, 4),
  ],
)
def test_number_of_regions_kept(name, options, expected, tmp_path):
  text = _write_text(tmp_path / 'text')
  folder = _write_images(
    tmp_path / name, {'a.npz': _image(11), 'b.npz': _image(11)}
  )
  data = uniter_lmdb.load_uniter_lmdb(text, folder, **options)
  np.testing.assert_array_equal(
    data.read_regions(1).features, _image(11)['features'][:expected]
  )
  assert data.num_regions[1] == expected


def test_one_candidate_is_found_in_the_parent(tmp_path):
  text = _write_text(tmp_path / 'text')
  _write_images(tmp_path / 'images' / 'feat_th0.3_max50_min5_compressed')
  (tmp_path / 'images' / 'other').mkdir()
  data = uniter_lmdb.load_uniter_lmdb(text, tmp_path / 'images')
  assert len(data.read_regions(0).features) == 5


@pytest.mark.parametrize(
  'options',
  [
    {'conf_threshold': 0.2},
    {'conf_threshold': -1},
    {'max_boxes': 100},
    {'min_boxes': 10},
    {'compressed': True},
  ],
)
@pytest.mark.parametrize('is_parent', [True, False])
def test_settings_that_no_folder_fits(options, is_parent, tmp_path):
  text = _write_text(tmp_path / 'text')
  folder = _write_images(tmp_path / 'images' / 'feat_th0.3_max50_min5')
  ((key, value),) = options.items()
  with pytest.raises(UserError) as raised:
    uniter_lmdb.load_uniter_lmdb(
      text, folder.parent if is_parent else folder, **options
    )
  shown = _SETTINGS_NAMES.get(key, key)
  for part in (
    f'one store that fits {shown}={value}',
    'got only feat_th0.3_max50_min5, which needs '
    'data.region_confidence=0.3, data.max_regions=50, '
    'data.min_regions=5; change the settings',
  ):
    assert part in str(raised.value)


def test_several_folders_fit():
  with pytest.raises(UserError) as raised:
    uniter_lmdb.load_uniter_lmdb(_TEXT, _IMAGES)
  for part in (
    'one store that fits no settings',
    'got feat_numbb36, ',
    'feat_numbb36_compressed, feat_th0.2',
    f'set data.SPLIT_images to one of them, e.g. {_IMAGES / "feat_numbb36"}',
  ):
    assert part in str(raised.value)


@pytest.mark.parametrize(
  'names',
  [
    ['feat_numbb36'],
    ['feat_numbb36', 'other'],
    ['feat_numbb36', 'feat_th0.3_max50_min5'],
  ],
)
@pytest.mark.parametrize('confidence', [0.2, -1])
@pytest.mark.parametrize('is_parent', [True, False])
def test_a_fixed_number_of_regions(names, confidence, is_parent, tmp_path):
  text = _write_text(tmp_path / 'text')
  for name in names:
    _write_images(tmp_path / 'images' / name)
  folder = tmp_path / 'images' / ('' if is_parent else names[0])
  load = functools.partial(
    uniter_lmdb.load_uniter_lmdb,
    text,
    folder,
    conf_threshold=confidence,
    max_boxes=100,
    min_boxes=10,
  )
  if is_parent and len(names) == 2 and 'feat' in names[1] and confidence > 0:
    with pytest.raises(
      UserError,
      match=(
        'fits data.region_confidence=0.2, data.max_regions=100, '
        'data.min_regions=10, got only feat_numbb36, which needs '
        'data.region_confidence below 0; feat_th0.3_max50_min5, which needs'
      ),
    ):
      load()
    return
  np.testing.assert_array_equal(load().num_regions, [36, 36])


@pytest.mark.parametrize('is_parent', [True, False])
@pytest.mark.parametrize('confidence', [None, 0.2])
def test_fewer_regions_than_the_fixed_number(confidence, is_parent, tmp_path):
  text = _write_text(tmp_path / 'text')
  folder = _write_images(tmp_path / 'images' / 'feat_numbb36')
  load = functools.partial(
    uniter_lmdb.load_uniter_lmdb,
    text,
    folder.parent if is_parent else folder,
    conf_threshold=confidence,
  )
  with pytest.raises(
    UserError,
    match='fits data.max_regions=35, got only '
    'feat_numbb36, which needs data.max_regions of 36 or '
    'more; change the settings',
  ):
    load(max_boxes=35)
  assert load(max_boxes=36).num_regions[0] == 36


def test_a_missing_store_names_those_beside_it(tmp_path):
  text = _write_text(tmp_path / 'text')
  folder = _write_images(tmp_path / 'images' / 'feat_numbb36')
  with pytest.raises(
    UserError,
    match='image folder .*feat_numbb100 is missing'
    '; .*next to it are feat_numbb36$',
  ):
    uniter_lmdb.load_uniter_lmdb(text, folder.with_name('feat_numbb100'))


# Nothing in a record may run.


class _WritesAFile:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def _pickled_records(path):
  objects = np.array([_WritesAFile(path)], dtype=object)
  packed = msgpack_numpy.packb(_image(3) | {'features': objects})
  reader = io.BytesIO()
  np.savez_compressed(reader, **(_image(3) | {'features': objects}))
  fake = {
    b'nd': True,
    b'type': '|O',
    b'kind': b'',
    b'shape': [1],
    b'data': b'12345678',
  }
  nested = {
    b'nd': True,
    b'type': [['x', '|O']],
    b'kind': b'V',
    b'shape': [1],
    b'data': b'12345678',
  }
  return {
    'msgpack': packed,
    'npz': reader.getvalue(),
    'pickle': objects.dumps(),
    'object dtype': msgpack.packb(
      _image(3) | {'features': fake}, default=msgpack_numpy.encode
    ),
    'structured': msgpack.packb(
      _image(3) | {'features': nested}, default=msgpack_numpy.encode
    ),
  }


@pytest.mark.parametrize(
  'kind', ['msgpack', 'npz', 'pickle', 'object dtype', 'structured']
)
@pytest.mark.parametrize('is_patched', [False, True])
def test_pickles_are_refused(kind, is_patched, tmp_path, monkeypatch):
  if is_patched:  # what msgpack_numpy.patch() does
    for name in ('unpackb', 'loads', 'unpack', 'load', 'Unpacker'):
      monkeypatch.setattr(msgpack, name, getattr(msgpack_numpy, name))
  record = _pickled_records(tmp_path / 'written')[kind]
  with pytest.raises(UserError, match='record of image b.npz'):
    _load(tmp_path, images={'a.npz': _image(3), 'b.npz': record})
  assert not (tmp_path / 'written').exists()


def test_the_pickle_above_would_write_a_file(tmp_path):
  record = _pickled_records(tmp_path / 'written')['msgpack']
  msgpack_numpy.unpackb(record)
  assert (tmp_path / 'written').exists()


def test_pickles_in_captions_are_refused(tmp_path):
  objects = np.array([_WritesAFile(tmp_path / 'written')], dtype=object)
  record = lz4.frame.compress(
    msgpack_numpy.packb(_RECORDS['c0'] | {'input_ids': objects})
  )
  with pytest.raises(UserError, match='c0 of .*input_ids must be a list'):
    _load(tmp_path, _RECORDS | {'c0': record})
  assert not (tmp_path / 'written').exists()


# Damaged and incomplete folders: one line that names the thing.


def _changed(caption_id, **changes):
  record = _RECORDS[caption_id] | changes
  return _RECORDS | {
    caption_id: {
      key: value for key, value in record.items() if value is not None
    }
  }


@pytest.mark.parametrize(
  'records, files, message',
  [
    (
      _changed('c0', input_ids=None),
      {},
      r'caption c0 of .*text: input_ids must be a list .* img_fname, raw, tree',
    ),
    (_changed('c0', input_ids=[]), {}, 'c0 of .*at least one token id'),
    (_changed('c0', input_ids=['a']), {}, 'c0 of .*at least one token id'),
    (
      _changed('c0', input_ids=[5, 20, 6]),
      {},
      r'c0 of .*token ids must be 0\.\.19, got 20; pass the vocabulary',
    ),
    (_changed('c0', input_ids=[5, -1, 6]), {}, r'0\.\.19, got -1'),
    (
      _changed('c0', input_ids=[2, 5, 3]),
      {},
      r'c0 of .*input_ids must be the '
      r"caption's own tokens, got 2 = \[CLS\] at position 0; \[CLS\], \[SEP\] "
      'and padding are added later: write the records without them',
    ),
    (_changed('c0', input_ids=[5, 6, 3]), {}, r'3 = \[SEP\] at position 2'),
    (_changed('c0', input_ids=[5, 0, 0]), {}, r'0 = \[PAD\] at position 1'),
    (_changed('c0', input_ids=[5, 4]), {}, r'4 = \[MASK\] at position 1'),
    (
      _changed('c1', img_fname=None),
      {'txt2img': {}},
      'c1 of .*img_fname must be the name of its image, got None',
    ),
    (
      _changed('c1', img_fname='a.npz'),
      {},
      "c1 of .*img_fname must be b.npz, got 'a.npz'",
    ),
    (_changed('c1', img_fname=['b.npz', 'a.npz']), {}, 'must be b.npz, got'),
    (_changed('c1', img_fname='x'), {'txt2img': {}}, 'its image must be in'),
    (
      _changed('c1', tree={'node': [{'ids': [1], 'text': 'dog'}]}),
      {},
      r"caption c1 of .*text: node 0 'dog' lists token position 1, expected "
      r'0\.\.0 for a caption of 1 tokens',
    ),
    (_RECORDS | {'c2': b'not lz4'}, {}, 'record of caption c2 of .*readable'),
    (
      _RECORDS | {'c2': lz4.frame.compress(b'\x93\x01' * 9)[:-6]},
      {},
      'record of caption c2 of .*must be readable',
    ),
    (
      _RECORDS | {'c2': lz4.frame.compress(b'\x93\x01')},
      {},
      'record of caption c2 of .*must be readable',
    ),
    (_RECORDS | {'c2': [1]}, {}, 'caption c2 of .*must be a dict, got list'),
    (
      None,
      {'id2len': {'c9': 1}},
      'caption c9 of .*text must be in data.mdb, got no record',
    ),
    (None, {'id2len': {'': 1}}, 'caption  of .*must be in data.mdb'),
    (
      None,
      {'id2len': {}},
      'id2len.json must be the names of captions, got none; '
      'write the folder again',
    ),
    (None, {'meta': None}, 'meta.json is missing'),
    (None, {'id2len': None}, 'id2len.json is missing'),
    (None, {'txt2img': None}, 'txt2img.json is missing'),
    (None, {'img2txts': None}, 'img2txts.json is missing'),
    (None, {'txt2img': '{"c0": '}, 'txt2img.json must be a JSON file, got'),
    (None, {'txt2img': [1]}, 'txt2img.json must be a dict, got list'),
    (None, {'txt2img': {'c0': ['a', 'b']}}, 'image of caption c0 must be one'),
    (None, {'img2txts': {'a.npz': 'c0'}}, 'captions of image a.npz must be a'),
    (
      None,
      {'img2txts': {'b.npz': ['c0']}},
      'image of caption c0 must be a.npz as in txt2img.json, got b.npz',
    ),
    (None, {'meta': {'UNK': 1}}, 'meta.json: CLS must be a token id, got None'),
    (None, {'meta': _META | {'v_range': [5]}}, r'v_range must be \[low, high'),
    (
      None,
      {'meta': _META | {'MASK': 103}},
      r'meta.json: MASK must be a token id of 0\.\.19, .*, got 103',
    ),
    (None, {'meta': _META | {'PAD': '0'}}, "PAD must be a token id, got '0'"),
  ],
)
def test_text_errors(records, files, message, tmp_path):
  with pytest.raises(UserError, match=message) as raised:
    _load(tmp_path, records, **files)
  assert '\n' not in str(raised.value)


def _npz(**arrays):
  writer = io.BytesIO()
  np.savez_compressed(writer, **arrays)
  return writer.getvalue()


def _with_value(key, value):
  record = _image(3)
  record[key][1, 1] = value
  return record


def _without(key):
  return {name: value for name, value in _image(3).items() if name != key}


@pytest.mark.parametrize(
  'record, message',
  [
    (
      _without('features'),
      'features must be in the record, got only norm_bb, conf',
    ),
    (_without('norm_bb'), 'norm_bb must be in the record, got only features'),
    (_npz(norm_bb=np.zeros((1, 6))), 'features must be in the record'),
    (
      _npz(**_image(3) | {'features': np.float16(1)}),
      'features must be an array of numbers',
    ),
    (
      _image(3) | {'features': [1, 2]},
      'features must be an array of numbers, got list',
    ),
    (_image(3) | {'features': np.array(['a'])}, 'an array of numbers, got <U1'),
    (_image(3, feature_size=4), r'shape \[regions, 3\], got \[3, 4\]'),
    (
      _image(3) | {'norm_bb': np.zeros((3, 4))},
      r'\[regions, 6\], got \[3, 4\]; write x1 y1 x2 y2 w h, divided',
    ),
    (_image(3) | {'norm_bb': np.zeros((2, 6))}, 'rows, got 3 and 2'),
    (_image(3, dtype=np.float32), 'must be float16, got float32'),
    (_image(0), 'at least 1 region, got 0'),
    (_with_value('features', np.nan), 'features must be finite, got nan'),
    (_with_value('norm_bb', np.inf), 'boxes must be finite, got inf'),
    (
      _with_value('norm_bb', 600),
      "divided by the image's .*, got .* 600 .* in region 1; divide them",
    ),
    (_image(3) | {'norm_bb': np.zeros((3, 6))}, 'boxes must have a size'),
    (msgpack_numpy.packb(_image(3))[:-20], 'must be readable'),
    (_npz(**_image(3))[:-200], 'must be readable'),
    (b'', 'must be readable'),
    (b'\x93NUMPY', 'must be readable'),
    (msgpack.packb([1]), 'must be a dict, got list'),
  ],
)
def test_image_errors(record, message, tmp_path):
  data = _load(tmp_path, images={'a.npz': record, 'b.npz': _image(3)})
  data.read_regions(0)
  with pytest.raises(UserError, match=message) as raised:
    data.read_regions(1)
  assert f'image a.npz of {tmp_path / "images"}' in str(raised.value)
  assert '\n' not in str(raised.value)


def test_error_in_the_first_image(tmp_path):
  with pytest.raises(UserError, match='image b.npz of .*must be finite'):
    _load(
      tmp_path,
      images={'a.npz': _image(3), 'b.npz': _with_value('features', np.nan)},
    )


def test_image_without_a_record(tmp_path):
  with pytest.raises(
    UserError, match='image a.npz of .*must be in data.mdb, got no record'
  ):
    _load(tmp_path, images={'b.npz': _image(3)})


@pytest.mark.parametrize(
  'record, message',
  [
    (_without('conf'), 'in the record, got only features, norm_bb'),
    (_image(3) | {'conf': np.ones(2)}, r'of shape \[3\], .*, got \[2\]'),
    (_image(3) | {'conf': np.full(3, np.nan)}, 'finite, got NaN'),
    (_image(3) | {'conf': np.array(['a'] * 3)}, 'an array of numbers'),
  ],
)
def test_confidences(record, message, tmp_path):
  text = _write_text(tmp_path / 'text')
  folder = _write_images(
    tmp_path / 'all', {'a.npz': record, 'b.npz': _image(3)}
  )
  with pytest.raises(UserError, match=f'image a.npz .*conf must .*{message}'):
    uniter_lmdb.load_uniter_lmdb(text, folder)


@pytest.mark.parametrize('place', ['data.mdb', 'meta.json'])
def test_no_permission(place, tmp_path, monkeypatch):
  # Who runs the tests may be allowed to read everything.
  text = _write_text(tmp_path / 'text')
  images = _write_images(tmp_path / 'images' / 'feat_numbb36')
  for name in ('open', 'read_text'):

    def refuse(path, *args, real=getattr(Path, name), **kwargs):
      if path.name == place:
        raise PermissionError(13, 'Permission denied', str(path))
      return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, name, refuse)
  with pytest.raises(UserError, match=f'{place} cannot be read: permission'):
    uniter_lmdb.load_uniter_lmdb(text, images)


@pytest.mark.parametrize(
  'content, message',
  [
    ({'b.npz': 5}, 'number of boxes of image a.npz must be at least 1, got No'),
    ({'a.npz': 0, 'b.npz': 5}, 'image a.npz must be at least 1, got 0'),
    ({'a.npz': '3', 'b.npz': 5}, "at least 1, got '3'"),
  ],
)
def test_number_of_boxes_errors(content, message, tmp_path):
  text = _write_text(tmp_path / 'text')
  folder = _write_images(tmp_path / _THRESHOLD)
  path = tmp_path / f'{_THRESHOLD.replace("feat", "nbb")}.json'
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match=f'{path.name}: .*{message}|{message}'):
    uniter_lmdb.load_uniter_lmdb(text, folder)


@pytest.mark.parametrize('kind', ['text', 'image'])
def test_folder_errors(kind, tmp_path):
  text = _write_text(tmp_path / 'good')
  images = _write_images(tmp_path / 'feat_numbb36')

  def load(folder):
    return uniter_lmdb.load_uniter_lmdb(
      *((folder, images) if kind == 'text' else (text, folder))
    )

  with pytest.raises(UserError, match=f'{kind} folder .*nowhere is missing'):
    load(tmp_path / 'nowhere')
  bad = tmp_path / 'bad'
  bad.mkdir()
  with pytest.raises(UserError, match='must contain .*, but contains nothing'):
    load(bad)
  (bad / 'itm.db').mkdir()
  with pytest.raises(UserError, match='must contain .*, but contains itm.db;'):
    load(bad)
  whole = ((text if kind == 'text' else images) / 'data.mdb').read_bytes()
  for size, message in (
    (0, 'must be an LMDB file'),
    (100, 'must be an LMDB file'),
    (5000, f'must be {len(whole)} bytes long, got 5000: it is truncated'),
    (len(whole) - 1, 'must be .*: it is truncated'),
  ):
    shutil.rmtree(bad)
    bad.mkdir()
    (bad / 'data.mdb').write_bytes(whole[:size])
    with pytest.raises(UserError, match=f'bad/data.mdb {message}'):
      load(bad)
  for content, message in (
    (
      'version https://git-lfs.github.com/spec/v1\noid sha256:1\n',
      'is a Git LFS pointer, not the file itself; run `git lfs pull`',
    ),
    ('<html>sign in</html>', 'is a web page; download the file itself'),
  ):
    (bad / 'data.mdb').write_text(content)
    with pytest.raises(UserError, match=f'bad/data.mdb {message}'):
      load(bad)


_WORDS = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  'five',
  'six',
  '.',
  *(str(i) for i in range(8, 20)),
]


def _write_words(path, words=_WORDS):
  path.write_text('\n'.join(words))
  return path


def test_vocabulary_file_errors(tmp_path):
  path = _write_words(tmp_path / 'vocab.txt')
  assert _load(tmp_path / 'good', vocabulary_file=path).vocabulary.words == (
    tuple(_WORDS)
  )
  swapped = [*_WORDS[:2], '[SEP]', '[CLS]', *_WORDS[4:]]
  with pytest.raises(UserError, match=r'id of \[CLS\] must be 2 as in .*got 3'):
    _load(tmp_path / 'swapped', vocabulary_file=_write_words(path, swapped))


@pytest.mark.parametrize(
  'words, meta, message',
  [
    (
      _WORDS[:-1],
      {'bert': 'toy-cased'},
      'must be of 20 tokens, as v_range in .*meta.json says, got 19; pass the '
      'vocabulary that the captions were tokenized with, toy-cased$',
    ),
    ([*_WORDS, '20'], {}, 'got 21; pass the vocabulary .* tokenized with$'),
    (
      [*_WORDS[:5], *_WORDS[:4:-1]],
      {'toker': 'toy-cased'},
      "1 of 1 captions of .*text do not decode to their texts: c0 'five six.' "
      "decodes to '19 18 17'; pass .*, toy-cased$",
    ),
  ],
)
def test_a_vocabulary_of_another_model(words, meta, message, tmp_path):
  path = _write_words(tmp_path / 'vocab.txt', words)
  with pytest.raises(UserError, match=f'^vocabulary {path}:? .*{message}'):
    _load(tmp_path, vocabulary_file=path, meta=_META | meta)


def test_empty_raw_texts_are_none(tmp_path):
  data = _load(
    tmp_path,
    _changed('c0', raw=' '),
    vocabulary_file=_write_words(tmp_path / 'vocab.txt'),
  )
  assert data.captions[0].text == 'five six .'


def test_a_sample_of_captions_is_decoded(tmp_path):
  path = _write_words(tmp_path / 'vocab.txt')

  def load(name, num_odd, num_raw):
    # Odd ones lie among the others; those without raw text say nothing.
    records = {
      f'c{i}': {'input_ids': [5, 6, 7], 'img_fname': 'a.npz'}
      | (
        {'raw': 'seven' if i % 20 < num_odd else 'Five SIX .'}
        if i % 1000 < num_raw
        else {}
      )
      for i in range(2000)
    }
    return _load(
      tmp_path / name,
      records,
      vocabulary_file=path,
      txt2img={},
      img2txts={'a.npz': []},
    )

  assert len(load('right', 0, 1000).captions) == 2000
  assert len(load('odd', 1, 1000).captions) == 2000
  with pytest.raises(UserError, match='2[0-9] of 100 captions of'):
    load('wrong', 5, 1000)
  assert len(load('no raw text', 5, 0).captions) == 2000
  with pytest.raises(UserError, match='2 of 6 captions of'):
    load('few', 1, 3)
