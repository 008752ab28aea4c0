"""The stand-ins read files as they are published, in a few lines of ours."""

import json

from tests.negative_files.exports import stand_ins


def test_negclip(tmp_path):
  path = tmp_path / 'train.tsv'
  path.write_text(
    '\ttitle\tfilepath\tneg_caption\tneg_image\n'
    "0\tA boy feeds a goat.\tcoco/1.jpg\t['A goat feeds a boy .']\t[1, 2, 1]\n"
    '1\tA "big" hat\tcoco/2.jpg\t["It\'s a hat ."]\t[2, 0, 2]\n'
    '2\t"Two\thats"\tcoco/3.jpg\t"[\'a "" b\', \'c\']"\t[0, 1, 0]\n',
    'utf-8',
  )
  assert stand_ins.read_negclip(path) == [
    ('coco/1.jpg', 'A boy feeds a goat.', ['A goat feeds a boy .']),
    ('coco/2.jpg', 'A "big" hat', ["It's a hat ."]),
    ('coco/3.jpg', 'Two\thats', ['a " b', 'c']),
  ]


def test_sugarcrepe(tmp_path):
  # A number may be missing.
  path = tmp_path / 'swap_obj.json'
  path.write_text(
    '{\n "0": {\n  "filename": "1.jpg",\n  "caption": "A cat on a dog.",\n'
    '  "negative_caption": "A dog on a cat."\n },\n "2": {"filename": "2.jpg",'
    ' "caption": "b", "negative_caption": "c"}\n}',
    'utf-8',
  )
  assert stand_ins.read_sugarcrepe(path) == {
    'swap_obj': [
      ('1.jpg', 'A cat on a dog.', ['A dog on a cat.']),
      ('2.jpg', 'b', ['c']),
    ]
  }


def test_cs_clip(tmp_path):
  sample = {
    'sample_id': 'some_id',
    'original_caption': 'A girl feeding a goat.',
    'entities': ['girl', 'goat'],
    'negative_entities': {
      'goat': [{'negative': 'hen', 'change_type': 'object_change'}]
    },
    'relations': [
      {
        'subject': 'girl',
        'relation_type': 'feeding',
        'object': 'goat',
        'negatives': [
          {
            'subject': 'girl',
            'relation_type': 'behind',
            'object': 'goat',
            'change_type': 'predicate_change',
          }
        ],
      }
    ],
    'image_path': 'COCO/train2014/1.jpg',
  }
  (tmp_path / 'a.json').write_text(json.dumps([sample]), 'utf-8')
  assert stand_ins.read_cs_clip(tmp_path) == [
    ('COCO/train2014/1.jpg', 'A girl feeding a goat.', [])
  ]


def test_trohn(tmp_path):
  path = tmp_path / 'trohn.csv'
  path.write_text(
    '"image_id","caption","negative_caption"\n'
    '"1.jpg","A ""big"" hat","A small hat"\n"1.jpg","A ""big"" hat","A, hat"\n',
    'utf-8',
  )
  assert stand_ins.read_trohn(path) == [
    ('1.jpg', 'A "big" hat', ['A small hat', 'A, hat'])
  ]


def test_ms_swift(tmp_path):
  path = tmp_path / 'a.jsonl'
  said = lambda text: [{'role': 'assistant', 'content': text}]
  row = {
    'messages': [{'role': 'user', 'content': '<image>What is it?'}],
    'images': ['/some/1.jpg'],
    'positive_messages': [said('a hat')],
    'negative_messages': [said('a cat'), said('a bat')],
  }
  path.write_text(json.dumps(row) + '\n', 'utf-8')
  assert stand_ins.read_ms_swift(path) == [
    ('/some/1.jpg', 'a hat', ['a cat', 'a bat'])
  ]
