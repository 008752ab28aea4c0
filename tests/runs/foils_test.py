"""Pictures, sentences and foil words, as networks get them; what is shown."""

import dataclasses

import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.data import dataset, regions
from tagsdc_jax.foil_files import measuring, records
from tagsdc_jax.runs import (
  foil_pages,
  foil_pictures,
  foil_reading,
  foil_sentences,
  foils,
)

_WORDS = (
  *('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'),
  *('a', 'dog', 'cat', 'cats', 'snow', '##board', '##s', 'and', '.'),
)
VOCABULARY = dataset.Vocabulary(
  len(_WORDS), 0, 1, 2, 3, 4, (5, len(_WORDS)), _WORDS
)


def _split(name, image_ids, count=2):
  corners = np.linspace(0, 0.5, count)
  boxes = np.stack([corners, corners, corners + 0.5, corners + 0.5], axis=1)
  six = np.concatenate([boxes, np.full((count, 2), 0.5)], axis=1)

  def read(image):
    return dataset.Regions(
      np.full((count, 3), image, np.float16),
      regions.make_boxes7(six.astype(np.float32)),
    )

  return dataset.RetrievalDataset(
    name,
    VOCABULARY,
    (),
    image_ids,
    [()] * len(image_ids),
    read,
    np.full(len(image_ids), count, np.int32),
    3,
    np.dtype(np.float16),
  )


def _shelf(train=None, sizes=None):
  splits = {
    'test': _split('d/test', ['x.jpg', 'y.jpg']),
    'train': _split('d/train', ['z.jpg'], 3),
  }
  return foil_pictures.Shelf(
    splits, sizes or (lambda split: np.zeros((0, 2))), train
  )


def test_pictures_of_several_splits_become_one():
  shelf = _shelf()
  assert shelf.find(['z.jpg']) == 0 and shelf.find(['folder/y']) == 1
  assert shelf.find(['z.jpg']) == 0
  assert shelf.find(['w.jpg']) == foil_pictures.NO_PICTURE
  box = records.Box(0, 0, 50, 80, 100, 100)
  assert shelf.find(['y.jpg'], box) == 2
  assert shelf.find(['y.jpg'], dataclasses.replace(box, x=200)) == 'no_area'
  data = shelf.data()
  assert data.image_ids == ['z.jpg', 'y.jpg', 'y.jpg']
  assert data.num_regions.tolist() == [3, 2, 2]
  assert [len(data.read_regions(i).features) for i in range(3)] == [3, 2, 1]
  # The first region of y.jpg fills the left upper quarter: 0 to 0.5.
  np.testing.assert_allclose(
    data.read_regions(2).boxes[0, :6], [0, 0, 1, 0.625, 1, 0.625]
  )
  assert [place.split for place in shelf.places()] == ['train', 'test', 'test']


def test_boxes_need_the_size_of_their_picture():
  box = records.Box(0, 0, 5, 8)
  sizes = {'test': np.array([[0, 0], [10, 20]])}
  shelf = _shelf(sizes=sizes.__getitem__)
  assert shelf.find(['x.jpg'], box) == foil_pictures.NO_SIZE
  assert shelf.find(['y.jpg'], box) == 0
  assert shelf.corners() == [(0, 0, 0.5, 0.4)]
  # None of them is known.
  assert _shelf().find(['y.jpg'], box) == foil_pictures.NO_SIZE


@pytest.mark.parametrize(
  'keys, unseen',
  [
    # By store and name, where the data is that of training.
    ([('d/train', 'z.jpg')], [True, True, False]),
    ([('d/train', 'x.jpg'), ('d/test', 'y.jpg')], [True, False, True]),
    # Else by names alone.
    ([('other', 'x.npz')], [False, True, True]),
  ],
)
def test_pictures_outside_training(keys, unseen):
  train = dataset.Contents('t', VOCABULARY, frozenset(keys), frozenset())
  shelf = _shelf(train)
  for name in 'xyz':
    shelf.find([f'{name}.jpg'])
  assert [shelf.is_unseen(place) for place in shelf.places()] == unseen
  shelf = _shelf()
  shelf.find(['x.jpg'])
  assert shelf.is_unseen(shelf.places()[0]) is None


def test_sentences_and_their_faults():
  sentences = foil_sentences.Sentences(VOCABULARY, 5)
  found = sentences.tokens('a snowboards zebra')
  assert [_WORDS[token] for token in found] == [
    *('a', 'snow', '##board', '##s', '[UNK]')
  ]
  assert found.dtype == np.int32
  for text, fault in (
    ('a dog', None),
    ('a dog and a cat .', foil_sentences.TOO_LONG),
    ('   ', foil_sentences.NO_TOKENS),
    ('a [MASK]', foil_sentences.SPECIAL),
  ):
    assert sentences.fault_of(['a cat', text]) == fault
  sentences.fault_of(['a zebra', 'zebra', 'a snowboards zebra', 'giraffe'])
  assert sentences.about() == {
    'sentences': 4,
    'words': 4,
    'first': ['zebra', 'giraffe'],
  }


def _item(caption, foil, word, target):
  return records.Item(
    '1', 'k', (caption,), (foil,), ('x',), swaps=((word, target),)
  )


@pytest.mark.parametrize(
  'caption, foil, word, place',
  [
    ('a cat', 'a dog', 'dog', (1, 2)),
    ('a dog and a cat', 'a dog and a dog', 'dog', (4, 5)),
    ('a cat and a dog', 'a dog and a dog', 'dog', (1, 2)),
    # Several pieces, a plural, another case.
    ('a cat', 'a snowboard .', 'snowboard', (1, 3)),
    ('a cat', 'a Snowboards', 'snowboard', (1, 4)),
    # Not there, or twice for no reason.
    ('a cat', 'a dog', 'cow', None),
    ('a cat', 'a dog', '', None),
    ('a dog dog', 'a dog dog', 'dog', None),
    # Part of another word.
    ('a cat', 'a snowboard', 'snow', None),
  ],
)
def test_where_the_foil_word_is(caption, foil, word, place):
  sentences = foil_sentences.Sentences(VOCABULARY, 9)
  item = _item(caption, foil, word, 'cat')
  assert sentences.find(item, 0) == place


def test_found_and_mended_by_hand():
  sentences = foil_sentences.Sentences(VOCABULARY, 9)
  cat, cats, dog = (_WORDS.index(word) for word in ('cat', 'cats', 'dog'))
  item = _item('a cat .', 'a snowboard .', 'snowboard', 'cat')

  def judge(probs, corrections):
    return foil_reading.judge(
      sentences, item, 0, np.array(probs), np.array(corrections)
    )

  assert sentences.words(item.foils[0]) == [0, 1, 1, 2]
  # One piece of the word is the most doubtful token.
  assert judge([0.1, 0.2, 0.9, 0.3], [5, cat, dog, 7]) == (True, False)
  assert judge([0.9, 0.2, 0.8, 0.3], [5, dog, dog, 7]) == (False, False)
  item = _item('a Cat', 'a dog', 'dog', 'Cat')
  assert judge([0.1, 0.2], [dog, cat]) == (True, True)
  assert judge([0.1, 0.2], [cat, cats]) == (True, True)
  assert judge([0.3, 0.2], [cat, dog]) == (False, False)
  item = _item('a cat', 'a dog', 'cow', 'cat')
  assert judge([0.3, 0.2], [cat, cat]) == (None, None)


def test_nothing_to_score_is_one_line():
  item = records.Item('7', 'k', ('a cat',), ('a dog',), ('w.jpg',))
  file = records.FoilFile('f.json', 'SugarCrepe', [item])
  with pytest.raises(errors.UserError) as caught:
    foils.evaluate([file], _shelf(), _network())
  assert str(caught.value) == (
    'no item can be scored with d/test, d/train, where a picture is called '
    'x.jpg: 1 items of SugarCrepe have no picture in the data, such as w.jpg; '
    'pass the data that has their pictures as --data'
  )


def _network():
  return foil_reading.Network(
    settings.Settings(model=settings.Model(max_positions=16)),
    None,
    None,
    'tags',
    [],
  )


def test_examples_are_the_worst_and_others():
  def scored(number, margin, picture):
    item = records.Item(str(number), 'k', ('a cat',), ('a dog',), ())
    return measuring.Scored(
      item, np.float32([margin]), np.zeros(1, np.float32), picture=picture
    )

  items = [scored(i, i - 4, f'p{i // 2}') for i in range(40)]
  chosen = foil_pages.choose(items)
  # -4, -2 and 0, since -3 and -1 are of the same pictures as the former.
  assert chosen[:3] == [0, 2, 4] and len(chosen) == 9
  assert len({items[place].picture for place in chosen}) == 9
  assert chosen == foil_pages.choose(items)
  # All are right: none is the worst.
  right = [scored(i, 1 + i, f'p{i}') for i in range(4)]
  assert sorted(foil_pages.choose(right)) == [0, 1, 2, 3]


def test_words_that_differ_are_marked():
  pieces = foil_pages.marked('A cat on the red mat', 'a dog on the mat')
  assert [(piece.text, piece.is_changed) for piece in pieces] == [
    ('A', False),
    ('cat', True),
    ('on the', False),
    ('red', True),
    ('mat', False),
  ]
