"""Reads what was exported as the consumers' own loaders do.

Every reader returns what the consumer would train on, in order: the picture's
path, the caption and its negatives.
"""

import ast
import csv
import json
import os
import re
import tarfile

# What pandas.read_csv makes NaN of.
_NAN = ('', 'None', 'NA', 'N/A', 'nan', 'NaN', 'null', 'NULL', 'n/a', '#N/A')


def _table(path, **options):
  """Returns rows as dicts, as pandas has them."""
  with open(path, newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file, strict=True, **options))
  assert not any(value in _NAN for row in rows for value in row.values())
  assert not any(value is None for row in rows for value in row.values())
  return rows


def _grouped(pairs):
  """Returns (picture, caption, negatives) of rows with one negative each."""
  found = []
  for picture, caption, negative in pairs:
    if not found or found[-1][:2] != (picture, caption):
      found.append((picture, caption, []))
    found[-1][2].append(negative)
  return found


def read_negclip(path):
  rows = _table(path, delimiter='\t')
  images = [row['filepath'] for row in rows]
  captions = [row['title'] for row in rows]
  # `random.choice` fails for empty lists.
  lists = [ast.literal_eval(row['neg_caption']) for row in rows]
  others = [ast.literal_eval(row['neg_image']) for row in rows]
  assert [row[''] for row in rows] == [str(i) for i in range(len(rows))]
  assert all(
    texts and type(texts) is list and {type(one) for one in texts} == {str}
    for texts in lists
  )
  for i, places in enumerate(others):
    assert len(places) == 3
    for place in places:
      assert images[place] != images[i] and lists[place]
  return list(zip(images, captions, lists, strict=True))


def read_sentence_transformers(path):
  lines = path.read_text('utf-8').split('\n')
  assert lines.pop() == ''
  rows = [json.loads(line) for line in lines]
  columns = list(rows[0])
  assert not [
    name
    for name in columns
    if name in ('label', 'labels', 'score', 'scores', 'dataset_name', 'id')
    or name.endswith(('_id', '_ids', '_idx'))
  ]
  assert all(list(row) == columns for row in rows)
  assert all(type(value) is str for row in rows for value in row.values())
  # By order, whatever the names.
  return [
    (anchor, positive, negatives)
    for anchor, positive, *negatives in (row.values() for row in rows)
  ]


def read_ms_swift(path):
  tags = re.compile('<(image|video|audio|bbox|ref-object|cot-process)>')
  found = []
  for line in path.read_bytes().splitlines():
    row = json.loads(line)
    ((query,),) = [row['messages']]
    assert query['role'] == 'user'
    assert tags.findall(query['content']) == ['image'] * len(row['images'])
    documents = []
    for messages in row['positive_messages'] + row['negative_messages']:
      (message,) = messages
      assert message['role'] == 'assistant'
      assert not tags.findall(message['content'])
      documents.append(message['content'])
    assert len(row['positive_messages']) == 1 <= len(documents[1:]) <= 7
    found.append((row['images'][0], documents[0], documents[1:]))
  return found


def read_trl_dpo(path):
  pairs = []
  for line in path.read_bytes().splitlines():
    row = json.loads(line)
    assert set(row) == {'images', 'prompt', 'chosen', 'rejected'}
    parts = [part for one in row['prompt'] for part in one['content']]
    assert sum(part['type'] == 'image' for part in parts) == len(row['images'])
    (chosen,), (rejected,) = row['chosen'], row['rejected']
    assert chosen['role'] == rejected['role'] == 'assistant'
    texts = [one['content'][0]['text'] for one in (chosen, rejected)]
    pairs.append((row['images'][0], *texts))
  return _grouped(pairs)


def read_sugarcrepe(path):
  """Returns {name of the file: what is in it}, of one folder or one file."""
  found = {}
  for file in sorted(path.glob('*.json')) if path.is_dir() else [path]:
    entries = json.loads(file.read_text('utf-8'))
    assert type(entries) is dict and entries
    assert all(key == str(int(key)) for key in entries)
    found[file.stem] = [
      (one['filename'], one['caption'], [one['negative_caption']])
      for one in entries.values()
    ]
  return found


def read_degla(path, root='photos'):
  found = []
  for sample in json.loads(path.read_text('utf-8')):
    number = str(sample['image_id'])
    name = f'COCO_train2014_{"0" * (12 - len(number))}{number}.jpg'
    used = [sample['enhanced'][i] for i in range(4)]
    found.append((os.path.join(root, name), str(sample['original']), used))
  return found


CHANGES = (
  'swap',
  'subject_object_swap',
  'antonym',
  'negation',
  'relation_change',
  'relation_opposite',
)


def read_cs_clip(folder):
  """Returns whole sentences, and checks what the sampler would draw."""
  found = []
  for file in sorted(folder.glob('*.json')):
    for sample in json.loads(file.read_text('utf-8')):
      caption = sample['original_caption']
      for entity in sample['entities']:
        assert entity in caption and entity == entity.strip()
      assert set(sample['negative_entities']) <= set(sample['entities'])
      whole = [one['negative'] for one in sample.get('swap_negatives', ())]
      for entity, negatives in sample['negative_entities'].items():
        for one in negatives:
          replaced = caption.replace(entity, one['negative'], 1)
          assert replaced != caption
          assert not whole or replaced in whole
      for relation in sample['relations']:
        for end in ('subject', 'object'):
          assert relation[end] in sample['entities']
        for one in relation['negatives']:
          assert not whole or one['change_type'] in CHANGES
          assert one['subject'] and one['object'] and one['relation_type']
      found.append((sample['image_path'], caption, whole))
  return found


def read_trohn(path):
  text = path.read_text('utf-8')
  rows = _table(path)
  assert list(rows[0]) == ['image_id', 'caption', 'negative_caption']
  assert re.match('"[^"]+","[^"]+","[^"]+"\n"', text)
  return _grouped(row.values() for row in rows)


def read_mmeb(folder):
  (file,) = folder.iterdir()
  pairs = []
  for line in file.read_bytes().splitlines():
    row = json.loads(line)
    assert list(row) == [
      'qry',
      'qry_image_path',
      'pos_text',
      'pos_image_path',
      'neg_text',
      'neg_image_path',
    ]
    assert row['qry'].count('<|image_1|>') == 1
    assert '<|image_1|>' not in row['pos_text'] + row['neg_text']
    assert all(type(value) is str for value in row.values())
    assert not row['pos_image_path'] and not row['neg_image_path']
    pairs.append((row['qry_image_path'], row['pos_text'], row['neg_text']))
  return [
    (picture, caption, [text for text in texts if text])
    for picture, caption, texts in _grouped(pairs)
  ]


def samples(path):
  """Yields (key, {suffix: content}) of members that stand together."""
  with tarfile.open(path) as tar:
    key, sample = None, {}
    for member in tar:
      assert member.isfile() and member.mtime == 0 and not member.uname
      name = re.match(r'((?:.*/|)[^.]+)[.]([^/]*)$', member.name)
      if name[1] != key:
        if sample:
          yield key, sample
        key, sample = name[1], {}
      assert name[2] not in sample
      sample[name[2]] = tar.extractfile(member).read()
    if sample:
      yield key, sample


def read_tripletclip(folder):
  """Returns pictures' contents, and the other picture's with each negative."""
  found, keys = [], []
  names = [f'shard-{i}.tar' for i in range(751)]
  assert {path.name for path in folder.iterdir()} <= set(names)
  for name in names:
    if (folder / name).exists():
      for key, sample in samples(folder / name):
        assert set(sample) == {'image', 'neg_image', 'caption', 'neg_caption'}
        keys.append(key)
        found.append(
          (
            sample['image'],
            sample['caption'].decode(),
            [sample['neg_caption'].decode()],
            sample['neg_image'],
          )
        )
  assert len(set(keys)) == len(keys)
  return found


def read_webdataset(folder):
  found, keys = [], []
  for path in sorted(folder.iterdir()):
    assert re.fullmatch(r'\d{5}\.tar', path.name)
    for key, sample in samples(path):
      about = json.loads(sample['json'])
      (picture,) = {'jpg', 'png', 'webp'} & set(sample)
      assert set(sample) == {picture, 'txt', 'json'}
      assert about['caption'] == sample['txt'].decode()
      assert key[:5] == path.stem and len(key) == 9
      for name in ('scores', 'kinds', 'edits'):
        assert len(about[name]) == len(about['negatives'])
      keys.append(key)
      found.append((sample[picture], about['caption'], about['negatives']))
  assert len(set(keys)) == len(keys)
  return found
