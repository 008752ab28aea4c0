"""Captions that are near a sentence, on examples worked by hand."""

import pytest

from tagsdc_jax.negative_files.exports import neighbors

CAPTIONS = (
  ('a', 'a dog on a lawn'),  # 0
  ('a', 'a dog on the grass'),  # 1
  ('b', 'a cat on a lawn'),  # 2
  ('c', 'a dog on a lawn'),  # 3
  ('c', 'a dog on a red lawn'),  # 4
  ('d', 'two buses'),  # 5
  ('e', 'two trains'),  # 6
)


def _nearest(text, row, number, captions=CAPTIONS):
  near = neighbors.Neighbors(captions)
  (found,) = near.nearest([(text, row)], number)
  return found


@pytest.mark.parametrize(
  'row, number, rows',
  [
    # Of its own picture is row 1; row 3 is the same caption. "dog" and "lawn"
    # are in row 4, "lawn" in row 2.
    (0, 1, [4]),
    (0, 2, [4, 2]),
    # No word of the others: those that are nearest in the file.
    (0, 4, [4, 2, 5, 6]),
    # The same caption of another picture comes last, then all again.
    (0, 5, [4, 2, 5, 6, 3]),
    (0, 7, [4, 2, 5, 6, 3, 4, 2]),
    (5, 1, [6]),
    # Equally near in words; row 3 is nearer than row 0.
    (2, 2, [3, 0]),
  ],
)
def test_rows_of_other_pictures(row, number, rows):
  assert _nearest(CAPTIONS[row][1], row, number) == rows


def test_a_sentence_that_is_no_caption():
  # Of row 0, but about a cat: row 2 has all of its words.
  assert _nearest('a cat on a lawn', 0, 1) == [2]
  assert _nearest('words unheard of', 0, 3) == [2, 4, 5]
  assert _nearest('', 6, 2) == [5, 4]


def test_rare_words_count_more():
  captions = [(str(i), f'the cat {i}') for i in range(9)]
  captions += [('x', 'the zebra'), ('y', 'a zebra'), ('z', 'the dog')]
  assert _nearest('the zebra', 9, 1, captions) == [10]


def test_common_words_count_only_in_small_files(monkeypatch):
  captions = [('a', 'dog one'), ('b', 'cat two'), ('c', 'dog three')]
  captions += [(f'd{i}', 'dog') for i in range(9)]
  assert _nearest('dog one', 0, 1, captions) == [3]
  monkeypatch.setattr(neighbors, '_FEW', 2)
  # "dog" is in 11 of 12.
  assert _nearest('dog one', 0, 1, captions) == [1]


def test_sentences_are_looked_up_alike_one_by_one_and_together():
  near = neighbors.Neighbors(CAPTIONS)
  sentences = [(text, row) for row, (_, text) in enumerate(CAPTIONS)]
  together = list(near.nearest(sentences, 3))
  assert together == [_nearest(text, row, 3) for text, row in sentences]
  assert [near.names[i] for i in near.pictures] == list('aabccde')


def test_batches(monkeypatch):
  monkeypatch.setattr(neighbors, 'BATCH', 2)
  assert list(neighbors.batches(iter('abcde'))) == [
    ['a', 'b'],
    ['c', 'd'],
    ['e'],
  ]
