"""Discrimination and correction: what stage 2's heads say of words."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.runs import reading
from tagsdc_jax.studies.measures import items, networks

_BATCH = 64


class _Sentence(NamedTuple):
  """A false sentence, and which of its words are wrong."""

  image: int
  token_ids: np.ndarray
  is_wrong: np.ndarray  # bool [tokens]
  originals: np.ndarray | None  # int [tokens]; None: there are none.


def words(subject: networks.Subject) -> items.Items:
  """Returns precision and recall of both classes, and correction accuracy.

  Without those of a head that the run has not trained. Of three kinds of
  sentences: each caption's hardest refill; its hardest sentence with two
  phrases swapped; and for each picture the best-matching caption of another
  picture, where the words count as wrong that are in no caption of the picture.
  A word is called replaced if the head says so as it was trained, where
  replaced words weigh more.
  """
  opened = subject.opened
  losses = opened.network.settings.losses
  # The reader's probabilities are without the class weights of training.
  threshold = losses.kept_weight / (losses.kept_weight + losses.replaced_weight)
  reader = reading.Reader(
    opened.network.settings, opened.network.params, opened.data
  )
  found: list[tuple[str, bool, int]] = []
  for kind, sentences in (
    ('tailored', _hardest(opened, subject.written)),
    (
      'two phrases swapped',
      _hardest(opened, networks.write(opened, source='word_swap')),
    ),
    ('retrieved', _retrieved(subject)),
  ):
    made = list(sentences)
    for start in range(0, len(made), _BATCH):
      found += _read(reader, threshold, kind, made[start : start + _BATCH])
  untrained = [
    *(['precision', 'recall'] if not losses.discrimination else []),
    *(['corrected'] if not losses.correction else []),
  ]
  return {
    number: parts
    for number, parts in items.join(found).items()
    if not number.startswith(tuple(untrained))
  }


def _hardest(
  opened: networks.Opened, written: Iterable[networks.Captioned]
) -> Iterator[_Sentence]:
  for one in written:
    if one.sentences:
      original = opened.data.captions[one.number].token_ids
      sentence = one.sentences[one.hardest]
      yield _Sentence(one.image, sentence, sentence != original, original)


def _retrieved(subject: networks.Subject) -> Iterator[_Sentence]:
  scores, data = subject.scores, subject.opened.data
  for image, own in enumerate(data.captions_of_image):
    if not own:
      continue
    others = scores[:, image].copy()
    others[list(own)] = -np.inf
    sentence = data.captions[int(np.argmax(others))].token_ids
    true = np.concatenate([data.captions[number].token_ids for number in own])
    yield _Sentence(image, sentence, ~np.isin(sentence, true), None)


def _read(
  reader: reading.Reader,
  threshold: float,
  kind: str,
  sentences: list[_Sentence],
) -> Iterator[tuple[str, bool, int]]:
  """Yields number, value and picture of every word that counts."""
  read = reader.read(
    [
      (dataset.Caption('', 0, one.token_ids, (), ''), one.image)
      for one in sentences
    ],
    with_words=True,
  )
  for row, one in enumerate(sentences):
    inside = slice(1, 1 + len(one.token_ids))  # [CLS] comes first.
    is_called = np.asarray(read.replaced_probs)[row, inside] > threshold
    for name, is_it, is_said in (
      ('replaced', one.is_wrong, is_called),
      ('kept', ~one.is_wrong, ~is_called),
    ):
      for value in is_it[is_said]:
        yield f'precision of {name}, {kind}', value, one.image
      for value in is_said[is_it]:
        yield f'recall of {name}, {kind}', value, one.image
    if one.originals is not None:
      corrected = np.asarray(read.corrections)[row, inside]
      for value in (corrected == one.originals)[one.is_wrong]:
        yield f'corrected, {kind}', value, one.image
