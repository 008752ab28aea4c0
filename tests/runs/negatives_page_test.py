"""The page of files of negatives that the tests write."""

import dataclasses
import io
import json

import pytest
from PIL import Image

from tagsdc_jax import errors
from tagsdc_jax.data import opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.negative_files import records
from tagsdc_jax.reporting.page import content
from tagsdc_jax.reporting.page import pictures as encoding
from tagsdc_jax.runs import negatives_page, pictures
from tests import tiny
from tests.negative_files.making import captioned, negative
from tests.reporting.page_rendering_test import Reader

DOG = 'a red dog'


def _records():
  return [
    captioned(
      number,
      DOG,
      2.0,
      negative(
        DOG,
        'dog',
        'cow',
        1.0 - number,
        words=('a', 'red', 'cow'),
        replaced=(0.0, 0.25, 0.75),
        corrected='A red dog',
        is_contained=not number,
      ),
    )
    for number in range(4)
  ]


def _header(**changes):
  listed = _records()
  return {
    'model': {'hash': 'abc', 'phase': 'dc', 'update': 7},
    'judge': None,
    'data': {'name': 'mine', 'split': 'test', 'captions': 4, 'photos': ''},
    'settings': {'seed': 0, 'per_caption': 1},
    'calibration': None,
    'counts': {'captions': len(listed)},
    'card': cards.make(listed),
  } | changes


def _write(tmp_path, header, listed=None):
  path = tmp_path / 'negatives.jsonl'
  lines = [records.header_line(header)]
  path.write_bytes(
    b''.join([*lines, *map(records.to_line, listed or _records())])
  )
  return path


def _read(path, find=None):
  text = negatives_page.write_page(path, find=find).read_text('utf-8')
  Reader(text)
  return negatives_page.read_page(records.File(path), find), text


def test_a_file_has_its_page(tmp_path):
  path = _write(tmp_path, _header())
  page, text = _read(path)
  assert (tmp_path / 'page.html').read_text('utf-8') == text
  assert page.name == 'mine/test' and page.numbers.negatives == 4
  assert page.calibration is None and not page.has_photos
  assert page.networks == {'model': 'hash abc, phase dc, update 7'}
  assert page.settings == {'seed': '0', 'per_caption': '1'}
  # The hardest first.
  assert [one.caption_id for one in page.examples] == ['c0', 'c1', 'c2', 'c3']
  first = page.examples[0]
  assert first.is_restored and first.kind == 'object'
  assert first.remarks == ['is part of another caption of the picture']
  assert [(one.text, one.kind, one.replaced) for one in first.negative] == [
    ('a', '', 0.0),
    (' ', '', None),
    ('red', '', 0.25),
    (' ', '', None),
    ('cow', 'object', 0.75),
  ]
  assert '4 negatives of 4 captions' in text


def test_the_same_file_gives_the_same_bytes(tmp_path):
  path = _write(tmp_path, _header())
  first = negatives_page.write_page(path).read_bytes()
  target = tmp_path / 'other.html'
  assert negatives_page.write_page(path, target) == target
  assert target.read_bytes() == first


def test_a_missing_card_is_made_again(tmp_path):
  _, text = _read(_write(tmp_path, _header()))
  for header in (_header(card=None), _header(card='x')):
    assert _read(_write(tmp_path, header))[1] == text


def test_photos_are_those_of_the_header(tmp_path):
  (tmp_path / 'photos').mkdir()
  Image.new('RGB', (40, 20), 'red').save(tmp_path / 'photos' / 'p0.jpg')
  data = {'name': 'mine', 'photos': str(tmp_path)}
  page, text = _read(_write(tmp_path, _header(data=data)))
  found = {one.caption_id: one.picture for one in page.examples}
  assert Image.open(io.BytesIO(found['c1'].file)).size == (40, 20)
  assert found['c0'].ratio == 2 and found['c2'].file is None
  assert page.has_photos and text.count('src="data:image/jpeg') == 2
  assert page.name == 'mine'


def test_pictures_are_found_by_their_names(tmp_path):
  asked = []

  def find(name):
    asked.append(name)
    return content.Picture(name, None, [(0, 0, 1, 1)])

  page, text = _read(_write(tmp_path, _header()), find)
  assert asked[:4] == ['p0.jpg', 'p0.jpg', 'p1.jpg', 'p1.jpg']
  assert text.count('<rect') == 4


def test_pictures_of_the_world(world_dir):
  config = tiny.make_settings('dc', world_dir).data
  data = opening.open_split(config, 'validation')
  find = pictures.by_name(config, data, 'validation')
  shown = find(data.image_ids[3])
  assert shown.name == data.image_ids[3]
  assert shown.file == encoding.to_png(
    world.load_picture('validation', 3, data_dir=world_dir, size='tiny')
  )
  assert len(shown.boxes) == data.num_regions[3]
  assert find('none') == content.Picture('none', None, ())


def test_without_negatives_there_is_a_page(tmp_path):
  listed = [captioned(0, DOG, 1.0)]
  header = _header(card=cards.make(listed), counts={'captions': 1})
  page, text = _read(_write(tmp_path, header, listed))
  assert not page.examples and 'not a single negative' in text


@pytest.mark.parametrize(
  'value', [None, 'x', 3, [], [[1]], {'a': None}, [None, 'x', {}]]
)
def test_damaged_parts_of_the_header_are_left_out(tmp_path, value):
  parts = 'model', 'judge', 'data', 'settings', 'calibration'
  for key in parts:
    path = _write(tmp_path, _header(**{key: value}))
    assert negatives_page.read_page(records.File(path)).numbers.negatives == 4
  _read(_write(tmp_path, _header(**dict.fromkeys(parts, value))))


def test_damaged_examples_are_left_out(tmp_path):
  made = cards.make(_records())
  first = made['examples'][0]
  damaged = [
    None,
    {},
    first | {'text': 3},
    first | {'negatives': []},
    first | {'negatives': [first['negatives'][0] | {'edits': [{}]}]},
    first | {'negatives': [first['negatives'][0] | {'words': 3}]},
    first | {'score': None},
    first | {'probability': 'x'},
    first | {'image_id': None, 'path': 3},
    *(
      first | {'negatives': [first['negatives'][0] | {key: value}]}
      for key in ('corrected', 'source', 'edits', 'probability')
      for value in (3, [1], {'a': 1})
    ),
    first
    | {
      'negatives': [
        first['negatives'][0]
        | {'edits': [first['negatives'][0]['edits'][0] | {'start': 'x'}]}
      ]
    },
  ]
  path = _write(tmp_path, _header(card=made | {'examples': [*damaged, first]}))
  page, _ = _read(path)
  assert page.examples[-1].caption_id == 'c0'
  assert len(page.examples) < 8


def test_other_files_are_refused(tmp_path):
  path = tmp_path / 'negatives.jsonl'
  path.write_text('{}\n')
  with pytest.raises(errors.UserError, match='is no file of negatives'):
    negatives_page.write_page(path)
  path = _write(tmp_path, _header(card=None, counts={'captions': 9}))
  with pytest.raises(errors.UserError, match='its header says 9'):
    negatives_page.write_page(path)
  assert not (tmp_path / 'page.html').exists()


def test_odd_characters_do_not_stop_the_page(tmp_path):
  # A half of a character, as JSON may have.
  one = dataclasses.replace(_records()[0], caption_id='c\ud800')
  made = cards.make(_records())
  path = tmp_path / 'negatives.jsonl'
  example = json.loads(json.dumps(dataclasses.asdict(one)))
  header = _header(card=made | {'examples': [example]})
  text = json.dumps({'format': records.FORMAT, 'version': 1, **header})
  path.write_text(text + '\n')
  assert 'caption c?<br>' in negatives_page.write_page(path).read_text('utf-8')
