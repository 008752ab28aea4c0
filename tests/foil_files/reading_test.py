"""Foil files as they are published, in other spellings, and damaged."""

import json
import re

import pytest

from tagsdc_jax import errors
from tagsdc_jax.foil_files import loading, reading, records
from tagsdc_jax.negative_files import records as negative_records
from tests.foil_files import files


def _read(tmp_path, content, name='x.json'):
  path = tmp_path / name
  if isinstance(content, bytes):
    path.write_bytes(content)
  elif isinstance(content, str):
    path.write_text(content, 'utf-8')
  else:
    path.write_text(json.dumps(content), 'utf-8')
  return reading.read(path)


def _refused(tmp_path, content, name='x.json'):
  with pytest.raises(errors.UserError) as caught:
    _read(tmp_path, content, name)
  line = str(caught.value)
  assert str(tmp_path / name) in line and '\n' not in line
  assert len(line) < 500
  return line


TRIPLET = {
  'filename': '000000000001.jpg',
  'caption': 'a cat',
  'negative_caption': 'a dog',
}


def test_a_missing_key_is_told(tmp_path):
  found = reading.read(files.write(tmp_path, files.SUGAR_CREPE))
  assert found.remarks == ['keys run from 0 to 6, without 3']
  assert [item.item_id for item in found.items] == list('012456')


def test_captions_among_the_foils_are_named(tmp_path):
  found = reading.read(files.write(tmp_path, files.FG_OVD))
  assert found.items[0].foils == ('a blue cup 0', 'a green cup 0')
  assert found.remarks == [
    '1 items have their caption among the foils, which is left out: line 1'
  ]
  found = reading.read(files.write(tmp_path, files.SUGAR_CREPE_PP))
  assert found.remarks == [
    '1 items have no foil but their own caption and are left out: [5]'
  ]


def test_boxes(tmp_path):
  box = records.Box(10, 20, 30, 40, 100, 200)
  found = reading.read(files.write(tmp_path, files.FG_OVD))
  assert all(item.box == box for item in found.items)
  found = reading.read(files.write(tmp_path, files.ARO))
  assert found.items[0].box == records.Box(1, 2, 30, 40)
  # Its numbers are Visual Genome's.
  assert found.items[0].names == ('VG_100K/2300000.jpg',)
  flat = [{**TRIPLET, 'x': 1, 'y': 2, 'width': 0, 'height': 3}, TRIPLET]
  found = _read(tmp_path, flat)
  assert found.left_out == {'no_area': 1} and found.items[0].box is None


def test_pairs_of_attributes_with_few_items_are_no_part_of_the_mean(tmp_path):
  def record(pair):
    return {
      'image_path': '1.jpg',
      'true_caption': 'a red cat',
      'false_caption': 'a blue cat',
      'attributes': pair,
    }

  many, few = [record(['red', 'blue'])] * 25, [record(['red', 'old'])] * 24
  found = _read(tmp_path, many + few)
  assert found.family == 'ARO'
  assert [item.detail for item in found.items] == ['red_blue'] * 25 + [''] * 24


@pytest.mark.parametrize(
  'change, expected',
  [
    # A list instead of an object, more keys, other spellings.
    (lambda r: [r], ('a cat', 'a dog', '000000000001.jpg')),
    (lambda r: {'7': {**r, 'more': None}}, None),
    (lambda r: {'data': [r], 'version': 1}, None),
    (lambda r: {'rows': [{'row_idx': 0, 'row': r}]}, None),
    (lambda r: {key.upper(): value for key, value in r.items()}, None),
    (lambda r: [r, {**r, 'caption': float('nan')}], None),
    (lambda r: [r, {**r, 'negative_caption': None}], None),
    (
      lambda r: [
        {
          'image': {'path': r['filename'], 'bytes': None},
          'caption': r['caption'],
          'hard_negatives': [r['negative_caption'], ''],
        }
      ],
      None,
    ),
    (
      lambda r: [
        {
          'image_url': f'https://example.org/a%20b/{r["filename"]}?x=1',
          'text': f' {r["caption"]}\n',
          'foils': str([r['negative_caption']]),
        }
      ],
      ('a cat', 'a dog', 'a b/000000000001.jpg'),
    ),
  ],
)
def test_other_spellings(tmp_path, change, expected):
  found = _read(tmp_path, change(TRIPLET))
  item = found.items[0]
  assert len(found.items) == 1
  assert (*item.captions, *item.foils, item.names[0]) == (
    expected or ('a cat', 'a dog', '000000000001.jpg')
  )


def test_lines_and_tables_are_found_by_looking(tmp_path):
  lines = f'\ufeff{json.dumps(TRIPLET)}\n\n{json.dumps(TRIPLET)}\n'
  found = _read(tmp_path, lines, 'x.json')
  assert [item.item_id for item in found.items] == ['line 1', 'line 3']
  table = (
    'image_id;caption;hard_negs\r\n'
    '139;"a cat; a\r\nmat";"[\'a dog\', \\"a dog\'s cat\\"]"\r\n'
  ).replace('\\"', '""')
  found = _read(tmp_path, table, 'x')
  assert found.family == 'CREPE'
  assert found.items[0].captions == ('a cat; a\r\nmat',)
  assert found.items[0].foils == ('a dog', "a dog's cat")
  assert found.items[0].names == ('139',)


def test_quads_of_other_files(tmp_path):
  found = _read(
    tmp_path,
    [['https://a.org/vg/1.jpg', 'a cat', 'https://a.org/vg/2.jpg', 'a dog']],
  )
  assert found.family == 'COLA'
  assert found.items[0].names == ('vg/1.jpg',)
  assert found.items[0].other_names == ('vg/2.jpg',)
  swap = {
    'id': 0,
    'caption_1': 'a red cat',
    'caption_2': 'a blue cat',
    'image_1': 'images/1.png',
    'image_2': 'images/2.png',
    'caption_source': 'human',
  }
  found = _read(tmp_path, [swap])
  assert found.family == 'ColorSwap' and found.items[0].kind == 'x'
  assert found.items[0].foils == ('a blue cat',)
  # Another model's answers: B says that the second option is right.
  log = {'caption_1': 'one', 'caption_2': 'two'}
  answers = {
    'log_1': {**log, 'image_url': 'https://a.org/1.png', 'correct_answer': 'B'},
    'log_2': {**log, 'image_url': 'https://a.org/2.png', 'correct_answer': 'A'},
  }
  (item,) = _read(tmp_path, [answers]).items
  assert (item.captions, item.names) == (('two',), ('1.png',))
  assert (item.foils, item.other_names) == (('one',), ('2.png',))


def test_entities_of_a_training_file(tmp_path):
  record = {
    'original_caption': 'A person riding a horse.',
    'negative_entities': {
      'horse': [{'negative': 'cow', 'change_type': 'object_change'}],
      'dog': [{'negative': 'cat', 'change_type': 'object_change'}],
    },
    'relations': [{'subject': 'person', 'negatives': [{}, {}]}],
    'image_path': 'a.jpg',
  }
  found = _read(tmp_path, [record])
  assert found.items[0].foils == ('A person riding a cow.',)
  assert found.items[0].kind == 'object_change'
  assert found.left_out == {'no_sentence': 3}


def test_the_original_form_of_boxes(tmp_path):
  whole = {
    'images': [
      {'id': 4, 'file_name': 'val2017/4.jpg', 'width': 10, 'height': 20}
    ],
    'categories': [{'id': 7, 'name': 'a cup'}, {'id': 8, 'name': 'a hat'}],
    'annotations': [
      {
        'image_id': 4,
        'category_id': 7,
        'neg_category_ids': [8],
        'bbox': [1, 2, 3, 4],
      }
    ],
  }
  (item,) = _read(tmp_path, whole).items
  assert (item.captions, item.foils) == (('a cup',), ('a hat',))
  assert item.box == records.Box(1, 2, 3, 4, 10, 20)
  whole['annotations'][0]['neg_category_ids'] = [9]
  assert 'annotations[0]: image_id and category ids must' in _refused(
    tmp_path, whole
  )


def test_own_negatives(tmp_path):
  edit = negative_records.Edit('object', 2, 5, 'cat', 'dog', 2)
  record = negative_records.Captioned(
    'c1',
    'p1',
    'photos/p1.jpg',
    'a cat',
    1.0,
    negatives=(
      negative_records.Negative('a dog', 0.5, 'mask_refill', (edit,)),
      negative_records.Negative('a hat', 0.5, 'mask_refill', (edit,)),
    ),
  )
  path = tmp_path / 'negatives.jsonl'
  path.write_bytes(
    negative_records.header_line({'counts': {'captions': 1}})
    + negative_records.to_line(record)
  )
  found = reading.read(path)
  assert [(x.item_id, x.kind, x.foils, x.names) for x in found.items] == [
    ('c1-0', 'object', ('a dog',), ('p1', 'photos/p1.jpg')),
    ('c1-1', 'object', ('a hat',), ('p1', 'photos/p1.jpg')),
  ]
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(errors.UserError, match='line 2 is damaged'):
    reading.read(path)


def _with(**changes):
  return [{**TRIPLET, **changes}]


@pytest.mark.parametrize(
  'content, message',
  [
    (b'', 'is empty'),
    (b' \n\t', 'is empty'),
    ('{"0": {"filename": "a.jpg", "capt', 'is not whole JSON (unterminated'),
    ('[1, 2', "is not whole JSON (expecting ',' delimiter at line 1, column"),
    ('[' * 100_000, 'is not whole JSON'),
    ('{}', 'expected records with captions and foils, got an object with noth'),
    ('[]', 'got a list of nothing'),
    ('"text"', 'names its columns'),
    ('[3]', 'expected a foil file (SugarCrepe'),
    ([{'image': 'a.jpg', 'caption': ['a', 'b']}], 'tagsdc generate makes'),
    (b'\x1f\x8b\x08\x00abc', 'compressed with gzip; unpack it'),
    (b'PAR1\x00\x01', 'a Parquet file'),
    (b'\x80\x04\x95\x00', 'a pickle, which is not read'),
    (b'{"a": "\xff\xfe"}', 'expected UTF-8 text, got byte 0xff at 7'),
    (b'[{"filename": "a\x00"}]', 'got a NUL byte at 16'),
    ('<!DOCTYPE html><html></html>', 'is a web page'),
    (
      'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n',
      'a Git LFS pointer',
    ),
    ('{"1": {"a": 1}, "1": {"a": 2}}', "key '1' is there twice in one object"),
    (_with(caption=3), "record [0]: caption must be a string, got '3' (int)"),
    (_with(caption={'a': 1}), 'caption must be a string'),
    (_with(negative_caption=[1]), 'negative_caption must be a string'),
    (_with(filename=['a']), 'filename must be the name of a picture'),
    (_with(filename=None), 'record [0]: expected the name of a picture'),
    (_with(caption='a \ud800'), 'caption contains half a character'),
    ([TRIPLET, 'text'], "record [1]: expected an object, got 'text'"),
    ([TRIPLET, {'filename': 'a.jpg'}], 'expected a caption under caption or'),
    (_with(caption=' '), 'expected captions with foils (SugarCrepe), got 1'),
    (_with(x='?', y=2, width=3, height=4), "x, y must be a number, got '?'"),
    (
      [['a.jpg', {'POS': ['a'], 'NEG': ['b']}], ['b.jpg']],
      'record [1]: expected [picture, {"POS": .., "NEG": ..}], got a list of',
    ),
    ([['a', 'b', 'c', 'd'], ['a']], 'a list of 1'),
    (
      {'annotations': [{**files._FOIL[0], 'foil': 'no'}]},
      "annotations[0]: foil must be true or false, got 'no'",
    ),
    (
      {'annotations': [files._FOIL[0]] * 2},
      'caption 0 of image 391895 is there twice',
    ),
    (
      {'annotations': [{**files._FOIL[0], 'id': None}]},
      'image_id and id must be numbers, got 391895 and None',
    ),
    (
      {'a': {**files._VALSE['plurals_0'], 'mturk': 3}},
      "record 'a': mturk: expected an object, got '3' (int)",
    ),
    (
      {'a': {**files._VALSE['plurals_0'], 'mturk': {'caption': 'x'}}},
      "mturk.caption must be a number, got 'x'",
    ),
  ],
)
def test_damaged_json(tmp_path, content, message):
  assert message in _refused(tmp_path, content)


@pytest.mark.parametrize(
  'box, message',
  [
    ([1, 2, 3], 'bbox must be x, y, width and height, got '),
    ('1 2 3', 'bbox must be x, y, width and height'),
    (None, 'bbox must be x, y, width and height'),
    ([1, 2, 3, 'x'], "bbox must be a number, got 'x'"),
    ([1, 2, 3, float('nan')], 'bbox must be a number'),
    ([1, 2, 3, True], 'bbox must be a number'),
  ],
)
def test_damaged_boxes(tmp_path, box, message):
  record = {
    'img_path': 'a.jpg',
    'bbox': box,
    'pos_expression': ['a'],
    'neg_expression': ['b'],
  }
  line = _refused(tmp_path, json.dumps(record), 'x.jsonl')
  assert message in line


@pytest.mark.parametrize(
  'cell, message',
  [
    ('[1, 2]', 'neg_caption must be a list of sentences as Python'),
    ("['a', 1]", 'neg_caption must be a string'),
    ("['a', __import__('os').getcwd()]", 'neg_caption must be a list of'),
    ("['a'", 'neg_caption must be a list of'),
    ("['a'] * 10**9", 'neg_caption must be a list of'),
    ('[' + "'a'," * 1001 + ']', 'of at most 100,000 characters and 1,000 sent'),
    ("['" + 'a' * 100_000 + "']", 'of at most 100,000 characters'),
    ("['a', " + '[' * 5000 + ']' * 5000 + ']', 'must be a list of'),
  ],
)
def test_lists_in_cells_are_not_run(tmp_path, cell, message):
  table = f'title\tfilepath\tneg_caption\na cat\ta.jpg\t{cell}\n'
  if cell == '[1, 2]':  # Looks like a sentence in brackets, and is one.
    assert _read(tmp_path, table, 'x.tsv').items[0].foils == ('[1, 2]',)
    return
  assert message in _refused(tmp_path, table, 'x.tsv')


@pytest.mark.parametrize(
  'table, message',
  [
    ('filename,caption,negative_caption\n', 'expected rows below the names'),
    (
      'filename,caption,negative_caption\na.jpg,a cat\n',
      'line 2: expected 3 fields as in the first line, got 2',
    ),
    (
      'filename,caption,negative_caption\na.jpg,"a\ncat",b\nc\n',
      'line 4: expected 3 fields',
    ),
    ('filename,caption,caption\na,b,c\n', 'names its columns'),
    ('just some text\nand more\n', "got 'just some text'"),
    ('filename,caption\na.jpg,a cat\n', 'tagsdc generate makes'),
  ],
)
def test_damaged_tables(tmp_path, table, message):
  assert message in _refused(tmp_path, table, 'x.csv')


def test_missing_files_and_folders(tmp_path):
  with pytest.raises(errors.UserError, match='must be a file, but is missing'):
    reading.read(tmp_path / 'x.json')
  with pytest.raises(errors.UserError, match='must be a file, but is a folder'):
    reading.read(tmp_path)


def test_truncation_anywhere_is_one_line(tmp_path):
  # Of JSON; a table may be cut off at the end of a row.
  for case in (files.SUGAR_CREPE, files.VALSE, files.FG_OVD, files.FOIL):
    for part in range(1, 20):
      path = tmp_path / case.name
      path.write_text(case.text[: len(case.text) * part // 20], 'utf-8')
      try:
        found = reading.read(path)
      except errors.UserError as error:
        assert re.match(rf'{path}(:| is) ', str(error))
        assert '\n' not in str(error)
      else:  # Whole lines are left.
        assert case is files.FG_OVD and len(found.items) < 6


def test_kinds_that_files_share_are_told_apart(tmp_path):
  for folder, votes in (('a', 3), ('b', 3)):
    (tmp_path / folder).mkdir()
    files.write(tmp_path / folder, files.VL_CHECKLIST)
    content = {
      folder: {**files._VALSE['plurals_0'], 'mturk': {'caption': votes}}
    }
    (tmp_path / folder / f'counting-{folder}.json').write_text(
      json.dumps(content)
    )
    files.write(tmp_path / folder, files.BIVLC)
  found = reading.read_all(sorted(tmp_path.rglob('*.*')))
  kinds = [sorted({item.kind for item in file.items}) for file in found]
  assert kinds == [
    ['add_att', 'add_obj', 'swap_att'],
    ['a/color'],
    ['plurals: counting-a'],
    ['add_att', 'add_obj', 'swap_att'],
    ['b/color'],
    ['plurals: counting-b'],
  ]
  with pytest.raises(errors.UserError, match='are the same file; name it once'):
    reading.read_all([tmp_path / 'a' / 'color.json'] * 2)


def test_every_shape_is_recognized_by_one_reader(tmp_path):
  # The order of SHAPES decides for those that look like several.
  for case in files.CASES:
    content = loading.load(files.write(tmp_path, case))
    found = [name for name, one in reading.SHAPES.items() if one.looks(content)]
    assert found[0] in (case.family, 'triplets', 'quads'), (case.family, found)


def test_no_record_is_lost(tmp_path):
  for case in files.CASES:
    found = reading.read(files.write(tmp_path, case))
    count = len(found.items) + sum(found.left_out.values())
    assert count == (
      3 if case is files.FOIL else 7 if case is files.VALSE else 6
    )
    ids = [item.item_id for item in found.items]
    assert len(set(ids)) == len(ids)
