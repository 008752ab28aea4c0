import types

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.evaluation import first_pass, recall

_DATA = types.SimpleNamespace(
  name='toy',
  image_ids='abc',
  captions=[types.SimpleNamespace(token_ids=[i]) for i in range(4)],
)
_SCORES = np.array([[9, 2, 1], [3, 8, 7], [4, 5, 6], [1, 0, 2]], np.float32)


def _load(path, scores=_SCORES, k=1):
  np.save(path / 'first.npy', scores)
  return first_pass.load(path / 'first.npy', k, _DATA)


@pytest.mark.parametrize('block', [1, 1000])
def test_wanted_by_hand(tmp_path, monkeypatch, block):
  monkeypatch.setattr(recall, '_BLOCK', block)
  # Best image of each caption: 0, 1, 2, 2; best caption of each: 0, 1, 1.
  chosen = _load(tmp_path)
  assert [chosen.wanted(i).tolist() for i in range(3)] == [[0], [1], [1, 2, 3]]


def test_more_than_there_are_means_all(tmp_path):
  chosen = _load(tmp_path, k=9)
  assert [chosen.wanted(i).tolist() for i in range(3)] == [[0, 1, 2, 3]] * 3
  assert chosen.about([(0,), (1,), (2, 3)]) == {
    'top_k': 9,
    'pairs': 12,
    'lost': {'image_retrieval': 0, 'text_retrieval': 0},
  }


def test_what_is_lost_by_hand(tmp_path):
  # Captions 1, 2 of image 0 are lost, image 1 has none; 3 of image 2 is kept.
  chosen = _load(tmp_path)
  assert chosen.about([(0, 1, 2), (), (3,)]) == {
    'top_k': 1,
    'pairs': 5,
    'lost': {'image_retrieval': 50, 'text_retrieval': 0},
  }
  # Image 0's captions are both lost.
  assert chosen.about([(1, 2), (0,), (3,)])['lost'] == {
    'image_retrieval': 75,
    'text_retrieval': pytest.approx(200 / 3),
  }


def test_equal_sentences_are_wanted_together(tmp_path):
  data = types.SimpleNamespace(
    name='toy',
    image_ids='abc',
    captions=[
      types.SimpleNamespace(token_ids=words) for words in ([1], [2], [3], [1])
    ],
  )
  np.save(tmp_path / 'first.npy', _SCORES)
  chosen = first_pass.load(tmp_path / 'first.npy', 1, data)
  # As by hand above, and 3 with 0.
  assert [chosen.wanted(i).tolist() for i in range(3)] == [
    [0, 3],
    [1],
    [0, 1, 2, 3],
  ]


@pytest.mark.parametrize(
  'content, found',
  [
    (
      b'version https://git-lfs.github.com/spec/v1\noid',
      'is a Git LFS pointer',
    ),
    (b'<!doctype html>', 'is a web page; '),
    (b'', 'cannot be read as .npy'),
    (b'\x93NUM', 'cannot be read as .npy: EOF'),
    # Of numpy.savez.
    (b'PK\x05\x06' + bytes(18), 'cannot be read as .npy: the magic'),
  ],
)
def test_what_is_no_matrix_is_named(tmp_path, content, found):
  (tmp_path / 'first.npy').write_bytes(content)
  with pytest.raises(errors.UserError, match=f'first.npy {found}'):
    first_pass.load(tmp_path / 'first.npy', 1, _DATA)


@pytest.mark.parametrize(
  'content, message',
  [
    (_SCORES.T, r'shape \(4, 3\).* got float32 \(3, 4\)'),
    (_SCORES.astype(int), 'must contain floats'),
    (np.where(_SCORES == 8, np.nan, _SCORES), 'must be finite'),
    (np.array([{}]), 'cannot be read'),
  ],
)
def test_a_bad_file_is_told(tmp_path, content, message):
  with pytest.raises(errors.UserError, match=message):
    _load(tmp_path, content)


def test_no_file(tmp_path):
  with pytest.raises(errors.UserError, match='none.npy cannot be read'):
    first_pass.load(tmp_path / 'none.npy', 1, _DATA)
