"""VinVL's three files, and the lists beside them."""

import json

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import opening, vinvl
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making

_LINES = {
  vinvl.RetrievalStore: making.retrieval_line,
  vinvl.CaptioningStore: making.captioning_line,
  vinvl.PredictionsStore: making.predictions_line,
}


def _lines(kind):
  return [_LINES[kind](*item) for item in making.pictures(3).items()]


def _index(path):
  """Writes where each line begins, and returns the file."""
  places = np.cumsum([0, *map(len, path.read_bytes().splitlines(True))])[:-1]
  index = path.with_suffix('.lineidx')
  index.write_text(''.join(f'{x}\n' for x in places))
  return index


def _reason(store, name='1007'):
  (read,) = store.read([name])
  assert isinstance(read, Unreadable)
  assert '\n' not in read.reason
  return read.reason


@pytest.fixture(params=_LINES, ids=lambda kind: kind.kind, name='kind')
def _kind(request):
  return request.param


def test_places_of_lines_are_used_if_they_fit(kind, tmp_path, monkeypatch):
  path = making.write_lines(tmp_path / 'features.tsv', _lines(kind))
  plain = kind(path)
  index = _index(path)
  monkeypatch.setattr('tagsdc_jax.preparing.regions.lines.scan', None)
  store = kind(path)
  assert store.sources == (str(path), str(index))
  assert store.notes == ()
  assert list(store.names) == list(plain.names) == ['1000', '1007', '1014']
  for one, other in zip(*(s.read(list(s.names)) for s in (store, plain))):
    assert one.features.tobytes() == other.features.tobytes()


@pytest.mark.parametrize(
  'text', ['', '0\n5\n9\n', '0\nx\n', '7\n', '0\n9999999']
)
def test_places_that_do_not_fit_are_not_used(text, tmp_path):
  path = making.write_lines(
    tmp_path / 'features.tsv', _lines(vinvl.RetrievalStore)
  )
  _index(path).write_text(text)
  store = vinvl.RetrievalStore(path)
  assert list(store.names) == ['1000', '1007', '1014']
  assert 'features.lineidx: does not fit features.tsv' in store.notes[0]
  assert store.sources == (str(path),)


def test_rows_by_name_must_be_those_of_the_file(tmp_path):
  path = making.write_lines(
    tmp_path / 'features.tsv', _lines(vinvl.RetrievalStore)
  )
  rows = tmp_path / 'imageid2idx.json'
  rows.write_text(json.dumps({'1000': 0, '1007': 1, '1014': 2}))
  store = vinvl.RetrievalStore(path)
  assert store.sources == (str(path), str(rows))
  rows.write_text(json.dumps({'1000': 0, '1007': 2}))
  with pytest.raises(UserError, match='row of picture 1007 .*, row 1, got 2'):
    vinvl.RetrievalStore(path)
  rows.write_text(json.dumps({'5': 0}))
  with pytest.raises(UserError, match='picture 5 .*which has none, got 0'):
    vinvl.RetrievalStore(path)


def test_a_cut_last_line(kind, tmp_path):
  path = making.write_lines(tmp_path / 'a.tsv', _lines(kind))
  path.write_bytes(path.read_bytes()[:-30])
  store = kind(path)
  assert 'line 3: picture 1014: ' in _reason(store, '1014')
  assert isinstance(store.read(['1007'])[0], StoredRegions)


def test_predictions_without_features_are_refused_by_name(tmp_path):
  objects = [{'class': 'dog', 'conf': 0.5, 'rect': [0, 0, 5, 5]}]
  content = {'image_h': 9, 'image_w': 9, 'objects': objects}
  path = making.write_lines(
    tmp_path / 'predictions.tsv', [b'1\t' + json.dumps(content).encode()]
  )
  with pytest.raises(
    UserError,
    match=r'predictions.tsv, line 1: picture 1: objects must have a feature, '
    r"got \['class', 'conf', 'rect'\]; predict again with",
  ):
    opening.open_store(str(path))


def test_predictions_as_a_bare_list_have_no_sizes(tmp_path):
  content = []
  for line in _lines(vinvl.PredictionsStore):
    name, text = line.split(b'\t')
    objects = json.dumps(json.loads(text)['objects']).encode()
    content.append(name + b'\t' + objects)
  store = opening.open_store(
    str(making.write_lines(tmp_path / 'predictions.tsv', content))
  )
  assert store.kind == 'VinVL predictions tsv'
  (read,) = store.read(['1007'])
  assert (read.width, read.height) == (0, 0)
  np.testing.assert_array_equal(read.boxes, making.pictures()['1007'].boxes)


_OBJECT = {
  'class': 3,
  'conf': 0.5,
  'rect': [0, 0, 5, 5],
  'feature': making.packed(np.zeros(making.SIZE)).decode(),
}


@pytest.mark.parametrize(
  ('content', 'match'),
  [
    ({'objects': []}, 'must have at least 1 object, got 0'),
    ({'objects': 5}, 'objects must be a list, got 5'),
    ({'objects': [5]}, 'objects must be dicts, got 5'),
    ({'other': 1}, "must have objects, got ['other']"),
    ({'objects': [_OBJECT, 7]}, 'object 1 must be a dict, got 7'),
    ({'objects': [_OBJECT | {'rect': [1, 2]}]}, 'must be four numbers, got [1'),
    ({'objects': [_OBJECT | {'feature': None}]}, 'base64, got None'),
    ({'objects': [_OBJECT | {'feature': 'é'}]}, 'object 0 must be base64'),
    ({'objects': [_OBJECT, _OBJECT | {'feature': 'AAAA' * 4}]}, 'one length'),
    ({'objects': [_OBJECT], 'image_w': 'x'}, 'image_w must be a whole number'),
    ({'objects': [_OBJECT | {'conf': float('nan')}]}, 'region 0'),
  ],
)
def test_predictions_that_are_wrong(content, match, tmp_path):
  first, _, last = _lines(vinvl.PredictionsStore)
  line = b'1007\t' + json.dumps(content).encode()
  path = making.write_lines(tmp_path / 'a.tsv', [first, line, last])
  if 'nan' in str(content):
    # What is not a number is no confidence.
    assert vinvl.PredictionsStore(path).read(['1007'])[0].confidence is None
    return
  assert match in _reason(vinvl.PredictionsStore(path))


@pytest.mark.parametrize(
  ('text', 'match'),
  [
    (b'{"num_boxes": 4', 'the second column must be JSON'),
    (b'[' * 100_000, 'the second column must be JSON'),
    (b'{"num_boxes": 4}', "must have features, got ['num_boxes']"),
    (b'{"num_boxes": "4", "features": "AAAA"}', 'must be a whole number'),
    (b'{"num_boxes": 0, "features": "AAAA"}', 'must be at least 1, got 0'),
    (
      b'{"num_boxes": 1, "features": "AAAAAAAAAAAAAAAA"}',
      'more than 6 numbers per',
    ),
    (b'{"num_boxes": 1, "features": 5}', 'features must be base64, got 5'),
  ],
)
def test_captioning_that_is_wrong(text, match, tmp_path):
  first, _, last = _lines(vinvl.CaptioningStore)
  path = making.write_lines(tmp_path / 'a.tsv', [first, b'1007\t' + text, last])
  assert match in _reason(vinvl.CaptioningStore(path))
