"""Choosing negatives: each reason, per phrase, in turn; hand-worked."""

import numpy as np
import pytest

from tagsdc_jax.data import captions, dataset, trigrams
from tagsdc_jax.negative_files import choosing

_WORDS = '[PAD] [UNK] [CLS] [SEP] [MASK] a red blue green ball cube on under'
_WORDS = _WORDS.split()
# Objects, attributes, a relation.
_CAPTION = 'a red ball on a blue cube'
_PHRASES = ((2,), (6,), (1,), (5,), (3,))


@pytest.fixture(name='vocabulary')
def _vocabulary(tmp_path):
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(_WORDS) + '\n', 'utf-8')
  return captions.load_vocabulary(path)


def _ids(text):
  return np.array([_WORDS.index(word) for word in text.split()], np.int32)


def _choose(vocabulary, sentences, others=(), language=None, **limits):
  """Candidates are (text, score, probability); an empty text is invalid."""
  token_ids = np.zeros((len(sentences), 10), np.int32)
  lengths = np.full(len(sentences), 2)
  for row, (text, *_) in enumerate(sentences):
    own = _ids(text)
    token_ids[row, : len(own) + 2] = [2, *own, 3]
    lengths[row] = len(own) + 2
  chooser = choosing.Chooser(
    choosing.Limits(
      **(
        {
          'per_caption': 9,
          'per_phrase': 9,
          'is_balanced': False,
          'max_probability': None,
          'min_fluency': None,
        }
        | limits
      )
    ),
    vocabulary,
    language,
  )
  _, chosen, dropped = chooser(
    dataset.Caption(
      '1', 0, _ids(_CAPTION), _PHRASES, _CAPTION, (1, 1, 2, 2, 3)
    ),
    [_ids(one) for one in others],
    choosing.Candidates(
      token_ids,
      lengths,
      np.array([bool(one[0]) for one in sentences]),
      np.array([one[1] for one in sentences]),
      np.array([one[2] for one in sentences]),
      ['mask_refill'] * len(sentences),
    ),
  )
  assert sum(dropped.values()) + len(chosen) == len(sentences)
  return [one.negative for one in chosen], dropped


_CANDIDATES = [
  ('a green ball on a blue cube', 5.0, 0.9),  # Attribute, probably true.
  ('a blue ball on a blue cube', 3.0, 0.2),  # Attribute.
  ('a green ball on a blue cube', 0.0, 0.1),  # Attribute, the same phrase.
  ('a red cube on a blue cube', 4.0, 0.1),  # Object.
  ('a red ball under a blue cube', 1.0, 0.3),  # Relation.
  ('a red ball on a [MASK] cube', 6.0, 0.1),
  ('', 9.0, 0.0),
  ('a red ball on a green cube', 2.0, 0.4),  # Attribute, another phrase.
]


def test_hardest_first(vocabulary):
  found, dropped = _choose(vocabulary, _CANDIDATES)
  assert [one.score for one in found] == [5, 4, 3, 2, 1, 0]
  assert dropped == {'repeated': 1, 'unreadable': 1}
  assert found[0].edits[0].old == 'red' and found[0].edits[0].new == 'green'
  assert found[0].probability == 0.9


def test_limits(vocabulary):
  found, dropped = _choose(
    vocabulary, _CANDIDATES, max_probability=0.5, per_phrase=1, per_caption=3
  )
  assert [one.score for one in found] == [4, 3, 2]
  assert dropped == {
    'repeated': 1,
    'maybe_true': 1,
    'unreadable': 1,
    'not_needed': 2,
  }


def test_kinds_in_turn(vocabulary):
  found, _ = _choose(vocabulary, _CANDIDATES, is_balanced=True, per_caption=4)
  assert [one.kind for one in found] == [
    'attribute',
    'object',
    'relation',
    'attribute',
  ]
  assert [one.score for one in found] == [5, 4, 1, 3]


def test_the_same_phrase(vocabulary):
  _, dropped = _choose(vocabulary, _CANDIDATES, per_phrase=1)
  # 5 is kept; 3 and 0 change the same word.
  assert dropped['same_phrase'] == 2


def test_what_is_not_written_like_captions(vocabulary):
  language = trigrams.Model(
    [_ids(_CAPTION), _ids('a red cube on a blue ball')], vocabulary
  )
  sentences = [
    ('a red cube on a blue cube', 1.0, 0.1),
    ('a red on on a blue cube', 2.0, 0.1),
  ]
  first, second = _choose(vocabulary, sentences, language=language)[0]
  assert (first.score, second.score) == (2, 1)
  assert first.fluency < second.fluency
  found, dropped = _choose(
    vocabulary,
    sentences,
    language=language,
    min_fluency=(first.fluency + second.fluency) / 2,
  )
  assert [one.score for one in found] == [1]
  assert dropped == {'odd': 1}


def test_other_captions_of_the_picture(vocabulary):
  found, _ = _choose(
    vocabulary,
    [
      ('a green ball on a blue cube', 2.0, 0.1),
      ('a red ball on a red cube', 1.0, 0.1),
    ],
    others=[
      'a ball under a green ball on a blue cube',
      'a red ball on a red cube',
    ],
  )
  assert [(one.is_caption, one.is_contained) for one in found] == [
    (False, True),
    (True, True),
  ]
