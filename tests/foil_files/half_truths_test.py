"""Half-truths: by hand, and as the world's oracle sees them."""

import collections
import dataclasses

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import oracle
from tagsdc_jax.foil_files import half_truths, reading

_SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
_TEXT = (
  'A a an old new man woman dog Dogs rides on bike horse orange . is happy '
  'beside'
)
_WORDS = [*_SPECIAL, *_TEXT.split()]
_VOCABULARY = dataset.Vocabulary(
  len(_WORDS), 0, 1, 2, 3, 4, (5, len(_WORDS)), tuple(_WORDS)
)


def _data(*captions):
  """Captions as (image, words, {position: kind})."""
  made = [
    dataset.Caption(
      f'c{number}',
      image,
      np.array([_WORDS.index(word) for word in text.split()], np.int32),
      tuple((place,) for place in phrases),
      text,
      tuple(phrases.values()),
    )
    for number, (image, text, phrases) in enumerate(captions)
  ]
  count = 1 + max(image for image, *_ in captions)
  return dataset.RetrievalDataset(
    'mine/test',
    _VOCABULARY,
    made,
    [f'p{image}' for image in range(count)],
    dataset.group_captions(made, count),
    lambda image: None,
    np.ones(count, np.int32),
    1,
    np.dtype(np.float16),
  )


# "An" is not a word of theirs: articles are put right in the end.
_OLD = (0, 'A old man rides a bike', {1: 2, 2: 1, 3: 3, 5: 1})
_NEW = (1, 'a new woman beside a horse', {1: 2, 2: 1, 3: 3, 5: 1})


def test_by_hand():
  found = half_truths.make(_data(_OLD, _NEW))
  kinds = {item.item_id: item for item in found.items}
  assert list(kinds) == [
    f'c{number}-{kind}'
    for number in (0, 1)
    for kind in ('object', 'attribute', 'relation')
  ]
  # Up to the object before; of the object, the only one that has one before.
  item = kinds['c0-object']
  assert item.captions == ('An old man',) and item.names == ('p0',)
  assert item.foils[0] in (
    'An old man rides a woman',
    'An old man rides a horse',
  )
  # Without the attribute; the article fits the next word.
  item = kinds['c0-attribute']
  assert item.captions == ('A man rides a bike',)
  assert item.foils == ('A new man rides a bike',)
  item = kinds['c1-attribute']
  assert item.foils == ('an old woman beside a horse',)
  item = kinds['c1-relation']
  assert item.captions == ('a new woman',)
  assert item.foils == ('a new woman rides a horse',)


def test_units_of_the_pictures_other_captions_are_not_used():
  # "dogs" and "dog" are one unit.
  other = (0, 'Dogs beside a woman', {0: 1, 1: 3, 3: 1})
  data = _data(_OLD, other, (1, 'a dog beside a horse', {1: 1, 2: 3, 4: 1}))
  for seed in range(5):
    items = {x.item_id: x for x in half_truths.make(data, seed).items}
    assert items['c0-object'].foils == ('An old man rides a horse',)
    relations = [key for key in items if key.endswith('relation')]
    assert relations == ['c2-relation']


def test_attributes_of_one_noun_do_not_exclude_each_other():
  both = (1, 'a new orange horse', {1: 2, 2: 2, 3: 1})
  data = _data(
    (0, 'a new bike', {1: 2, 2: 1}), both, (2, 'an old bike', {1: 2, 2: 1})
  )
  for seed in range(5):
    items = {x.item_id: x for x in half_truths.make(data, seed).items}
    # Something new may be orange.
    assert items['c0-attribute'].foils == ('an old bike',)


def test_predicates_are_not_cut_off():
  data = _data(
    (0, 'a man is happy', {1: 1, 3: 2}), (1, 'an old dog', {1: 2, 2: 1})
  )
  assert [item.item_id for item in half_truths.make(data).items] == [
    'c1-attribute'
  ]


def test_repeatable_and_written(tmp_path):
  data = _data(_OLD, _NEW)
  made = half_truths.make(data)
  assert made == half_truths.make(data)
  path = tmp_path / 'half.csv'
  path.write_bytes(half_truths.to_csv([made]))
  read = reading.read(path)
  assert [(x.captions, x.foils, x.names) for x in read.items] == [
    (x.captions, x.foils, x.names) for x in made.items
  ]
  assert read.items[0].kind == 'half-truths_object'


def test_phrases_without_kinds():
  caption = dataclasses.replace(_data(_OLD).captions[0], phrase_kinds=())
  data = dataclasses.replace(_data(_OLD), captions=[caption])
  with pytest.raises(errors.UserError, match='has no phrases of known kinds'):
    half_truths.make(data)


def test_the_oracle_agrees(world_dir):
  place = {'data_dir': world_dir, 'size': 'tiny'}
  data = world.load_world('test', **place)
  scenes = world.load_scenes('test', **place)
  number = {name: i for i, name in enumerate(data.image_ids)}
  verdicts = collections.defaultdict(collections.Counter)
  made = half_truths.make(data)
  for item in made.items:
    scene = scenes[number[item.names[0]]]
    short, long = item.captions[0].split(), item.foils[0].split()
    assert len(short) < len(long) or item.kind == 'attribute'
    # A noun alone, or after a clause, is no sentence of the world.
    for part in ' '.join(short).removeprefix('there is ').split(' and '):
      heads = ([], ['there', 'is'])
      assert 'still true' in [
        oracle.judge(head + part.split(), scene) for head in heads
      ]
    verdicts[item.kind][oracle.judge(long, scene)] += 1
  for kind, least in (('object', 0.97), ('attribute', 0.9), ('relation', 0.7)):
    counts = verdicts[kind]
    assert counts['false'] >= least * counts.total(), verdicts
    assert counts.total() > 70
