"""Tests that caption files of every format are read, and what is refused."""

import json

import pytest

from tagsdc_jax import errors
from tagsdc_jax.preparing import listing
from tagsdc_jax.preparing.captions import reading, tables


def write(folder, name, content):
  path = folder / name
  if not isinstance(content, (str, bytes)):
    content = json.dumps(content)
  if isinstance(content, str):
    content = content.encode()
  path.write_bytes(content)
  return path


def texts(found):
  return {
    p.image_id: [(s.caption_id, s.text) for s in p.sentences]
    for p in found.pictures
  }


def karpathy(**changes):
  return {
    'dataset': 'coco',
    'images': [
      {
        'filename': 'COCO_val2014_000000000042.jpg',
        'filepath': 'val2014',
        'cocoid': 42,
        'imgid': 0,
        'sentids': [7, 8],
        'split': 'restval',
        'sentences': [
          {'raw': 'A shoe.', 'sentid': 7, 'imgid': 0, 'tokens': ['a', 'shoe']},
          {'tokens': ['two', 'shoes'], 'sentid': 8, 'imgid': 0},
        ],
      },
      {
        'filename': 'b.jpg',
        'imgid': 1,
        'split': 'val',
        'sentences': [{'raw': 'A dog.', 'sentid': 9}],
      }
      | changes,
    ],
  }


def coco(**changes):
  return {
    'images': [
      {'id': 3, 'file_name': 'a.jpg', 'width': 640, 'height': 480},
      {'id': 4, 'file_name': 'bare.jpg'},
    ],
    'annotations': [
      {'id': 11, 'image_id': 3, 'caption': 'A cat.'},
      {'id': 12, 'image_id': 3, 'caption': ' '} | changes,
    ],
  }


def test_karpathy(tmp_path):
  found = reading.read(write(tmp_path, 'd.json', karpathy()))
  first, second = found.pictures
  assert found.kind == "Karpathy's JSON" and found.dataset == 'coco'
  assert [s.text for s in first.sentences] == ['A shoe.', 'two shoes']
  assert first.sentences[0].caption_id == '7'
  assert first.split == 'restval' and second.split == 'validation'
  assert first.names == (
    'COCO_val2014_000000000042.jpg',
    'COCO_val2014_000000000042',
    '42',
    '0',
  )


def test_coco_has_sizes_and_counts_what_it_leaves_out(tmp_path):
  found = reading.read(write(tmp_path, 'c.json', coco()), 'train')
  (picture,) = found.pictures
  assert (picture.width, picture.height) == (640, 480)
  assert picture.split == 'train' and picture.names == ('a.jpg', 'a', '3')
  assert texts(found) == {'a.jpg': [('11', 'A cat.')]}
  assert (found.num_empty, found.num_bare) == (1, 1)


def test_lavis_with_a_caption_per_entry_or_a_list(tmp_path):
  train = [
    {'image': 'x/1.jpg', 'image_id': 'i1', 'caption': 'One.'},
    {'image': 'x/1.jpg', 'image_id': 'i1', 'caption': 'Two.'},
  ]
  found = reading.read(write(tmp_path, 'train.json', train))
  assert texts(found) == {
    'x/1.jpg': [('x/1.jpg#0', 'One.'), ('x/1.jpg#1', 'Two.')]
  }
  assert found.pictures[0].names == ('x/1.jpg', '1.jpg', '1', 'i1')
  test = [{'image': 'x/2.jpg', 'caption': ['A.', 'B.', 'C.']}]
  found = reading.read(write(tmp_path, 'test.json', test))
  assert len(found.pictures[0].sentences) == 3


@pytest.mark.parametrize('delimiter', list(',\t;|'))
def test_tables_with_any_delimiter(tmp_path, delimiter):
  rows = [['image', 'caption', 'split'], ['a.jpg', '"Red, or blue"', 'val']]
  text = '\r\n'.join(delimiter.join(row) for row in rows)
  found = reading.read(write(tmp_path, 'c.csv', '\ufeff' + text))
  (picture,) = found.pictures
  assert picture.sentences[0].text == 'Red, or blue'
  assert picture.split == 'validation'


def test_pairs_of_a_table(tmp_path):
  path = write(
    tmp_path,
    'a.csv',
    'Photo;caption_id;Text\n b.jpg ;1;"A ""red"";\nshoe"\n\nb.jpg;2;\n7;3;x\n',
  )
  # In order, one a row; what is empty stays, and so does the caption as it is.
  assert tables.read_pairs(path) == [
    ('b.jpg', 'A "red";\nshoe'),
    ('b.jpg', ''),
    ('7', 'x'),
  ]
  path = write(tmp_path, 'b.csv', 'sentence 1,img,caption,title\na,b,c,d\n')
  assert tables.read_pairs(path) == [('b', 'c')]
  path = write(tmp_path, 'c.csv', 'sentence_1,img\na,b\n')
  assert tables.read_pairs(path) == [('b', 'a')]


def test_pairs_of_json_lines(tmp_path):
  entries = [
    {'text': 'A shoe.', 'image': 'b.jpg', 'x': [1]},
    {'caption': '', 'text': 'not this', 'file_name': 12},
  ]
  lines = '\n\n'.join(map(json.dumps, entries))
  path = write(tmp_path, 'a.jsonl', f'\ufeff{lines}')
  assert tables.read_pairs(path) == [('b.jpg', 'A shoe.'), ('12', '')]
  for entry in ({'image': True, 'caption': 'a'}, {'image': 'a', 'caption': 1}):
    path = write(tmp_path, 'b.jsonl', entry)
    with pytest.raises(errors.UserError, match='b.jsonl: line 1: expected an'):
      tables.read_pairs(path)


def test_tables_with_several_captions_in_a_row(tmp_path):
  text = 'file,caption_0,caption_1\na.jpg,One,Two\nb.jpg,Three,\n'
  found = reading.read(write(tmp_path, 'c.csv', text))
  assert texts(found) == {
    'a.jpg': [('a.jpg#0', 'One'), ('a.jpg#1', 'Two')],
    'b.jpg': [('b.jpg#0', 'Three')],
  }
  assert found.num_empty == 1


def test_flickr30k_results_table(tmp_path):
  text = (
    'image_name| comment_number| comment\n1.jpg| 0| A dog .\n1.jpg| 1| Dogs .\n'
  )
  found = reading.read(write(tmp_path, 'results.csv', text))
  assert texts(found) == {
    '1.jpg': [('1.jpg#0', 'A dog .'), ('1.jpg#1', 'Dogs .')]
  }


def test_json_lines(tmp_path):
  lines = [
    {'image': 'a.jpg', 'caption': 'One', 'split': 'dev', 'caption_id': 5},
    {'file_name': 'b.jpg', 'captions': ['Two', 'Three']},
  ]
  text = '\n'.join(map(json.dumps, lines)) + '\n\n'
  found = reading.read(write(tmp_path, 'c.jsonl', text))
  assert texts(found)['a.jpg'] == [('5', 'One')]
  assert len(texts(found)['b.jpg']) == 2


def test_flickr8k_tokens(tmp_path):
  text = 'a_1.jpg#0\tA dog .\na_1.jpg#1\tA hound .\nb.jpg.1#0\tA cat .\n'
  found = reading.read(write(tmp_path, 'Flickr8k.token.txt', text))
  assert texts(found) == {
    'a_1.jpg': [('a_1.jpg#0', 'A dog .'), ('a_1.jpg#1', 'A hound .')],
    'b.jpg.1': [('b.jpg.1#0', 'A cat .')],
  }


@pytest.mark.parametrize('copies', [1, 2])
def test_precomp_with_ids_per_caption_or_per_image(tmp_path, copies):
  write(tmp_path, 'dev_caps.txt', 'one\ntwo\nthree\nfour\n')
  ids = ['42', '77'] if copies == 1 else ['42', '42', '77', '77']
  write(tmp_path, 'dev_ids.txt', '\n'.join(ids))
  found = reading.read(tmp_path)
  assert [p.image_id for p in found.pictures] == ['42', '77']
  assert [s.text for s in found.pictures[1].sentences] == ['three', 'four']
  assert found.pictures[0].split == 'validation'


BAD = {
  'not_json.json': ('{"images": [', 'expected JSON'),
  'page.json': ('<!DOCTYPE html><html>', 'web page'),
  'deep.json': ('[' * 100_000, 'expected JSON'),
  'shape.json': ({'a': 1}, 'got an object with a'),
  'list.json': ([{'b': 1}], 'a list of an object with b'),
  'no_sentences.json': (karpathy(sentences=None), r'images\[1\] \(b.jpg\)'),
  'split.json': (karpathy(split='dvelopment'), "got 'dvelopment'"),
  'sentid.json': (
    karpathy(sentences=[{'raw': 'x', 'sentid': 7}]),
    'caption id 7 is there twice',
  ),
  'stranger.json': (coco(image_id=9), r'annotations\[1\]: image_id 9'),
  'type.json': (coco(caption=3), r'annotations\[1\]: caption must be a string'),
  'size.json': (
    {'images': [{'id': 1, 'file_name': 'a', 'width': -1}], 'annotations': []},
    'width must be a whole number of pixels',
  ),
  'empty.json': ('', 'is empty; copy'),
  'blank.csv': (' ', 'is empty; copy'),
  'header.csv': ('a.jpg,A dog\n', 'the first line must name the columns'),
  'fields.csv': (
    'image,caption\na.jpg,red, blue\n',
    'line 2: expected 2 fields',
  ),
  'nobody.csv': ('image,caption\n,red\n', 'line 2: the picture must be named'),
  'empty.csv': ('image,caption\n', 'expected captions of pictures'),
  'nul.csv': ('image,caption\n"a\0b', 'got none|line 2|expected captions'),
  'latin.csv': (b'image,caption\na.jpg,caf\xe9\n', 'byte 0xe9'),
  'two.csv': (
    'image,caption,split\na.jpg,x,train\na.jpg,y,test\n',
    'is in split train and in test',
  ),
  'line.jsonl': (
    '{"image": "a", "caption": "b"}\n{"image"\n',
    'line 2 must be',
  ),
  'number.jsonl': ('{"image": "a", "caption": 3}\n', r'line 1 \(a\): caption'),
  'nothing.jsonl': ('{"caption": "b"}\n', 'expected the picture under one of'),
  'other.txt': (
    'a.jpg#0\tA dog\nb.jpg A cat\n',
    'line 2 must be NAME.jpg#NUMBER',
  ),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_files_are_named_with_the_place(tmp_path, name):
  content, message = BAD[name]
  path = write(tmp_path, name, content)
  with pytest.raises(errors.UserError, match=message) as found:
    reading.read(path)
  assert str(path) in str(found.value)
  assert '\n' not in str(found.value)


def test_a_file_with_splits_of_its_own_and_another_one(tmp_path):
  path = write(tmp_path, 'd.json', karpathy())
  with pytest.raises(errors.UserError, match='are restval; leave out train='):
    reading.read(path, 'train')


def test_missing_file_and_folder(tmp_path):
  with pytest.raises(errors.UserError, match='is missing'):
    reading.read(tmp_path / 'no.json')
  with pytest.raises(errors.UserError, match='precomp folder'):
    reading.read(tmp_path)


def test_precomp_ids_that_do_not_fit(tmp_path):
  write(tmp_path, 'train_caps.txt', 'a\nb\nc\n')
  write(tmp_path, 'train_ids.txt', '1\n2\n')
  with pytest.raises(errors.UserError, match=r'per caption \(3\) .* got 2'):
    reading.read(tmp_path)


def many(number, split=''):
  return listing.Listing(
    'f.json',
    'JSON',
    [
      listing.Picture(
        f'{split}{i}', split, (listing.Sentence(f'{split}{i}', 'a'),), ()
      )
      for i in range(number)
    ],
  )


def sizes(splits):
  return {name: len(part) for name, part in splits.items()}


def test_splits_are_drawn_by_picture():
  splits = reading.assign(reading.join([many(50)], True), 0.1, 7, 0)
  assert sizes(splits) == {'train': 38, 'validation': 5, 'test': 7}
  ids = [p.image_id for part in splits.values() for p in part]
  assert len(set(ids)) == 50
  again = reading.assign(reading.join([many(50)], True), 0.1, 7, 0)
  other = reading.assign(reading.join([many(50)], True), 0.1, 7, 1)
  assert again == splits and other != splits


def test_missing_splits_are_drawn_from_train():
  joined = reading.join([many(20, 'train'), many(5, 'test')], True)
  assert sizes(reading.assign(joined, 3, 0.5, 0)) == {
    'train': 17,
    'validation': 3,
    'test': 5,
  }


@pytest.mark.parametrize('amount', [0, 60, 0.001])
def test_too_few_or_too_many_to_draw(amount):
  with pytest.raises(
    errors.UserError, match='test must get at least one of the 50'
  ):
    reading.assign(reading.join([many(50)], True), 1, amount, 0)


def test_some_pictures_without_a_split():
  joined = reading.join([many(5, 'train'), many(5)], True)
  with pytest.raises(errors.UserError, match='5 pictures have no split'):
    reading.assign(joined, 0.1, 0.1, 0)


def test_a_picture_in_two_files():
  first, second = many(5, 'train'), many(5, 'train')
  second = listing.Listing('g.json', 'JSON', second.pictures)
  with pytest.raises(
    errors.UserError, match='train0 is in f.json and in g.json'
  ):
    reading.join([first, second], True)


def test_published_counts_hold_or_are_named():
  # The sizes of Karpathy's files.
  flickr = [many(29000, 'train'), many(1014, 'validation'), many(1000, 'test')]
  splits = reading.join(flickr, True)
  assert not reading.compare_published('flickr30k', splits, True)
  coco_parts = [
    many(82783, 'train'),
    many(30504, 'restval'),
    many(5000, 'validation'),
    many(5000, 'test'),
  ]
  for with_restval in (True, False):
    splits = reading.join(coco_parts, with_restval)
    assert not reading.compare_published('coco', splits, with_restval)
  assert len(splits['train']) == 82783
  splits['test'].pop()
  assert reading.compare_published('coco', splits, False) == [
    'coco test: 4,999 pictures, published are 5,000.'
  ]
