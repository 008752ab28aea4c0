"""Files of negatives: there and back, and damaged ones."""

import json

import pytest

from tagsdc_jax import errors
from tagsdc_jax.negative_files import records

_RECORD = records.Captioned(
  'c1',
  'p1',
  'a/p1.jpg',
  'A „red“ ball',
  1.25,
  0.75,
  (records.Phrase('attribute', ((3, 6),)),),
  (
    records.Negative(
      'A „blue“ ball',
      -1.5,
      'mask_refill',
      (records.Edit('attribute', 3, 6, 'red', 'blue', 3),),
      0.125,
      -2.0,
      ('a', 'blue', 'ball'),
      (0.1, 0.9, 0.2),
      'A „red“ ball',
    ),
  ),
  {'repeated': 3},
)


def _write(path, *lines, count=1):
  header = records.header_line({'counts': {'captions': count}})
  path.write_bytes(header + b''.join(lines))
  return path


def test_there_and_back(tmp_path):
  path = _write(tmp_path / 'n.jsonl', records.to_line(_RECORD))
  file = records.File(path)
  assert file.num_captions == 1
  assert list(file) == [_RECORD] == list(file)
  assert _RECORD.negatives[0].kind == 'attribute'


@pytest.mark.parametrize(
  ('line', 'words'),
  [
    (b'{"text"\n', 'damaged'),
    (b'[]\n', 'not a JSON object'),
    (b'{"caption_id": "1"}\n', 'missing'),
    (records.to_line(_RECORD)[:-1], 'middle of a line'),
    (records.to_line(_RECORD).replace(b'1.25', b'"x"'), 'score'),
    (records.to_line(_RECORD).replace(b'"edits": [', b'"edits": [3,'), ''),
    (b'\xff\xfe\n', 'damaged'),
    (b'', 'has 0 captions'),
  ],
)
def test_damaged_lines(tmp_path, line, words):
  file = records.File(_write(tmp_path / 'n.jsonl', line))
  with pytest.raises(errors.UserError, match='generate the file again') as told:
    list(file)
  assert words in str(told.value)
  assert '\n' not in str(told.value)


@pytest.mark.parametrize(
  ('content', 'words'),
  [
    (b'', 'no file of negatives'),
    (b'{"format": "tagsdc-negatives", "version": 99}\n', 'version 1'),
    (b'a,b\n1,2\n', "text that begins with 'a,b"),
    (b'<html><body>', 'web page'),
    (b'\x00\x01\x02', 'no file of negatives'),
  ],
)
def test_other_files(tmp_path, content, words):
  path = tmp_path / 'n.jsonl'
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match='pass negatives.jsonl') as told:
    records.File(path)
  assert words in str(told.value)


def test_not_a_number_is_refused():
  with pytest.raises(ValueError):
    records.header_line({'x': float('nan')})
  assert json.loads(records.header_line({'x': 1 / 3}))['x'] == 0.333333
