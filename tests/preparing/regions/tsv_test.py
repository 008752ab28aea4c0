"""Tab-separated files: their lines, their base64, and what is wrong in them."""

import base64
import os
import pickle

import numpy as np
import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.regions import lines, opening, tsv
from tagsdc_jax.preparing.regions.file_store import DamagedError
from tagsdc_jax.preparing.regions.store import StoredRegions, Unreadable
from tests.preparing.regions import making

_LINES = {tsv.ButdStore: making.butd_line, tsv.LxmertStore: making.lxmert_line}


def _lines(kind=tsv.ButdStore, count=3):
  return [_LINES[kind](*item) for item in making.pictures(count).items()]


@pytest.fixture(params=_LINES, ids=lambda kind: kind.kind, name='kind')
def _kind(request):
  return request.param


def _reason(store, name='1007'):
  (read,) = store.read([name])
  assert isinstance(read, Unreadable)
  assert '\n' not in read.reason
  return read.reason


def test_width_comes_first_in_one_and_height_in_the_other(tmp_path):
  for kind in _LINES:
    path = making.write_lines(tmp_path / 'a.tsv', _lines(kind))
    (read,) = kind(path).read(['1000'])
    assert (read.width, read.height) == (640, 480)


def test_base64_that_python_3_wrote_as_text(tmp_path):
  made = making.pictures()
  path = making.write_lines(
    tmp_path / 'a.tsv',
    [making.lxmert_python3_line(*item) for item in made.items()],
    b'\r\n',
  )
  assert b"\tb'" in path.read_bytes()
  store = opening.open_store(str(path))
  for read, item in zip(store.read(list(made)), made.values()):
    np.testing.assert_array_equal(read.features, item.features)
    np.testing.assert_array_equal(read.boxes, item.boxes)
    np.testing.assert_array_equal(read.labels, item.labels)
    np.testing.assert_array_equal(read.confidence, item.confidence)


def test_a_lenient_decoder_would_read_that_as_garbage():
  numbers = np.arange(8, dtype='<f4')
  field = repr(making.packed(numbers)).encode()
  garbage = base64.b64decode(field)
  assert garbage[: numbers.nbytes] != numbers.tobytes()
  read = lines.numbers_in(field, 'x', '<f4', 2)
  assert read.tobytes() == numbers.tobytes()


@pytest.mark.parametrize(
  ('field', 'match'),
  [
    (b"b'AAAAAAAA", 'x must be base64'),
    (b'AAAA AAAA', 'x must be base64'),
    (b'AAAAA', 'x must be base64'),
    (b'', 'must hold a multiple of 8 bytes for 2 regions, got 0'),
    (b'AAAA', 'must hold a multiple of 8 bytes for 2 regions, got 3'),
  ],
)
def test_what_is_not_base64_of_the_right_length(field, match):
  with pytest.raises(DamagedError, match=match):
    lines.numbers_in(field, 'x', '<f4', 2)


def test_quotes_around_fields(tmp_path):
  content = [
    b'\t'.join(b'"%s"' % x for x in line.split(b'\t')) for line in _lines()
  ]
  path = making.write_lines(tmp_path / 'a.tsv', content)
  store = tsv.ButdStore(path)
  assert list(store.names) == ['1000', '1007', '1014']
  assert isinstance(store.read(['1007'])[0], StoredRegions)


def test_a_line_of_column_names(kind, tmp_path):
  header = '\t'.join(kind.columns).encode()
  path = making.write_lines(tmp_path / 'a.tsv', [header, *_lines(kind)])
  assert list(kind(path).names) == ['1000', '1007', '1014']
  names = list(kind.columns)
  names[1], names[2] = names[2], names[1]
  header = '\t'.join(names).encode()
  path = making.write_lines(tmp_path / 'a.tsv', [header, *_lines(kind)])
  with pytest.raises(UserError, match=f'columns must be .*{names[2]}, '):
    kind(path)


def test_blank_lines_are_passed_over(kind, tmp_path):
  first, second, third = _lines(kind)
  path = making.write_lines(
    tmp_path / 'a.tsv', [b'', first, b'  ', second, third, b'', b''], b'\r\n'
  )
  store = kind(path)
  assert list(store.names) == ['1000', '1007', '1014']
  assert store.notes == ()
  with open(path, 'r+b') as file:
    file.truncate(path.stat().st_size - 200)
  assert 'a.tsv, line 5: picture 1014: ' in _reason(kind(path), '1014')


def test_chunks_may_end_anywhere(tmp_path, monkeypatch):
  content = [b'a\tx', b'', b'longer name\tyy', b'b\t' + b'z' * 50]
  path = making.write_lines(tmp_path / 'a.tsv', content)
  for head in (3, 1024):
    monkeypatch.setattr(lines, 'HEAD', head)
    for size in range(1, 90):
      monkeypatch.setattr(lines, '_CHUNK', size)
      found = list(lines.scan(path))
      assert [x[2] for x in found] == [x[:head] for x in content]
      assert [x[1] for x in found] == [len(x) for x in content]
      assert [x[0] for x in found] == [0, 4, 5, 20]


def test_every_place_of_a_cut(kind, tmp_path):
  whole = b''.join(line + b'\n' for line in _lines(kind))
  last = whole.rindex(b'\n', 0, -1) + 1
  path = tmp_path / 'a.tsv'
  for end in range(last + 1, len(whole), 13):
    path.write_bytes(whole[:end])
    store = kind(path)
    good = [x for x in store.read(list(store.names)) if _is_good(x)]
    if end == len(whole) - 1:  # Only the end of the line is missing.
      assert len(good) == 3
      continue
    assert len(good) == 2
    if end <= last + 4:
      assert list(store.names) == ['1000', '1007']
      assert 'line 3, the last, is cut off within its id' in store.notes[0]
    else:
      reason = _reason(store, '1014')
      assert 'a.tsv, line 3: picture 1014: ' in reason


def _is_good(read):
  return isinstance(read, StoredRegions)


def test_an_id_on_two_lines(kind, tmp_path):
  first, second, third = _lines(kind)
  path = making.write_lines(tmp_path / 'a.tsv', [first, second, first, third])
  store = kind(path)
  assert list(store.names) == ['1000', '1007', '1014']
  assert _is_good(store.read(['1000'])[0])
  assert '1 lines repeat a picture' in store.notes[0]

  other = _LINES[kind]('1000', making.picture(99))
  path = making.write_lines(tmp_path / 'a.tsv', [first, second, other, third])
  store = kind(path)
  assert 'lines 1 and 3 differ; remove one' in _reason(store, '1000')
  assert _is_good(store.read(['1007'])[0])


@pytest.mark.parametrize(
  ('line', 'match'),
  [
    (b'no tab', "line 2: must begin with .* and a tab .*, got b'no tab'"),
    (b'\t640\t480', r"line 2: must begin with the id of a picture, got b''"),
    (b'\xff\xfe\t640', r'line 2: must begin with the id of a picture, got b'),
    (b'x' * 2000 + b'\t1', 'line 2: must begin with .* and a tab'),
  ],
)
def test_a_line_without_an_id(kind, line, match, tmp_path):
  first, *others = _lines(kind)
  path = making.write_lines(tmp_path / 'a.tsv', [first, line, *others])
  with pytest.raises(UserError, match=match):
    kind(path)


@pytest.mark.parametrize(
  ('kind', 'column', 'value', 'match'),
  [
    (tsv.ButdStore, 1, b'wide', "image_w must be a whole number, got b'wide'"),
    (tsv.ButdStore, 2, b'-5', "image_h must be a whole number, got b'-5'"),
    (tsv.ButdStore, 2, b'1e3', "image_h must be a whole number, got b'1e3'"),
    (tsv.ButdStore, 3, b'0', 'num_boxes must be at least 1, got 0'),
    (
      tsv.ButdStore,
      3,
      b'5',
      'must hold a multiple of 20 bytes for 5 regions, got 192',
    ),
    (tsv.ButdStore, 3, b'3_6', 'num_boxes must be a whole number'),
    (tsv.ButdStore, 4, b'', 'boxes must hold 64 bytes for 4 regions, got 0'),
    (tsv.ButdStore, 5, b'A', 'features must be base64'),
    (tsv.ButdStore, 5, b'A\tB', 'must have 6 columns .BUTD tsv., got 7'),
    (tsv.LxmertStore, 3, b'AAAA', 'objects_id must hold 32 bytes'),
    (tsv.LxmertStore, 4, b'AAAA', 'objects_conf must hold 16 bytes'),
    (tsv.LxmertStore, 7, b'4.5', 'num_boxes must be a whole number'),
    (tsv.LxmertStore, 8, b'?', 'boxes must be base64'),
  ],
)
def test_a_field_that_is_wrong(kind, column, value, match, tmp_path):
  content = _lines(kind)
  fields = content[1].split(b'\t')
  fields[column] = value
  content[1] = b'\t'.join(fields)
  store = kind(making.write_lines(tmp_path / 'a.tsv', content))
  reason = _reason(store)
  assert reason.startswith(f'{tmp_path}/a.tsv, line 2: picture 1007: ')
  with pytest.raises(DamagedError, match=match):
    store._read('1007')
  assert _is_good(store.read(['1014'])[0])


def test_sizes_may_be_written_with_a_point(tmp_path):
  line = _lines()[0].replace(b'\t640\t', b'\t640.0\t')
  store = tsv.ButdStore(making.write_lines(tmp_path / 'a.tsv', [line]))
  assert store.read(['1000'])[0].width == 640


def test_nothing_that_can_be_read(tmp_path):
  content = [line[:-40] for line in _lines()]
  path = making.write_lines(tmp_path / 'a.tsv', content)
  with pytest.raises(UserError, match='none of its first 3 pictures can; the'):
    tsv.ButdStore(path)


def test_a_file_that_is_cut_or_gone_after_it_was_indexed(tmp_path):
  path = making.write_lines(tmp_path / 'a.tsv', _lines())
  store = tsv.ButdStore(path)
  copy = pickle.loads(pickle.dumps(store))
  os.truncate(path, 500)
  assert 'the file was changed meanwhile' in _reason(store)
  path.unlink()
  with pytest.raises(UserError, match='a.tsv cannot be read: No such file'):
    copy.read(['1000'])


def test_files_are_closed(tmp_path):
  path = making.write_lines(tmp_path / 'a.tsv', _lines())
  before = len(os.listdir('/proc/self/fd'))
  for _ in range(5):
    tsv.ButdStore(path).read(['1000'])
  assert len(os.listdir('/proc/self/fd')) == before
