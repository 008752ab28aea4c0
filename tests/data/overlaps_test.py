"""What a split shares with the training data, by hand."""

import numpy as np

from tagsdc_jax.data import dataset, overlaps


def _split(name, captions, keys):
  names = [key[1] for key in keys]
  return dataset.RetrievalDataset(
    name,
    dataset.Vocabulary(9, 0, 1, 2, 3, 4, (5, 9)),
    [
      dataset.Caption(f'{name}{i}', 0, np.array(tokens, np.int32), (), '')
      for i, tokens in enumerate(captions)
    ],
    names,
    [() for _ in names],
    lambda i: None,
    np.ones(len(names), np.int32),
    3,
    np.dtype(np.float32),
    keys,
  )


def _find(captions, keys):
  train = _split('a', [[5], [5, 6], [7]], [('s', 'a'), ('s', 'b')])
  return overlaps.find(
    'test', _split('b', captions, keys), 'train', dataset.contents_of(train)
  )


def test_images_and_captions():
  found = _find(
    [[5, 6], [6, 5], [7], [7]], [('t', 'a'), ('s', 'b'), ('s', 'c')]
  )
  assert found.counts() == {'images': 1, 'captions': 3}
  assert str(found) == (
    'test (b): 1 of 3 images (the first is b) and 3 of 4 captions, word for '
    'word, are also in train (a); recall on it is not recall on unseen images: '
    'remove them from one of the two'
  )


def test_captions_alone_are_counted():
  found = _find([[8], [7]], [('t', 'a')])
  assert found and str(found) == (
    'test (b): no image, but 1 of 2 captions, word for word, are also in train '
    '(a) (the first is b1)'
  )


def test_nothing_shared():
  found = _find([[8]], [('s', 'c')])
  assert not found and found.counts() == {'images': 0, 'captions': 0}
