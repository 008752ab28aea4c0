"""Checks sentences against images: do they match, which words are wrong."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from tagsdc_jax import errors, paths, settings
from tagsdc_jax.data import captions, dataset, naming, written_captions
from tagsdc_jax.preparing.regions.store import Unreadable
from tagsdc_jax.reporting.checked import Checked, Line, Word
from tagsdc_jax.runs import example_negatives, loading, photo_regions, reading
from tagsdc_jax.training import checkpoints

# Pairs that are checked together.
BATCH = 64
# Words that are less probably wrong are not corrected.
_LEAST = 0.05
# The most words that are corrected together.
_MOST_WORDS = 3
# Of the unknown images, those whose message has the nearest names.
_NEAREST = 10


class _Edit(NamedTuple):
  """A correction that may be proposed."""

  row: int  # Of the pair.
  places: tuple[int, ...]  # Of the words that change.
  log_odds: float  # That these words are wrong.
  caption: dataset.Caption  # The corrected one.


def check(
  reader: reading.Reader,
  pairs: Sequence[tuple[dataset.Caption, int]],
  vocabulary: dataset.Vocabulary,
  writer: written_captions.Writer | None,
  *,
  with_words: bool,
) -> list[Checked]:
  """Returns whether each caption matches its image, and which words do not.

  A correction puts suggestions in place of one word, or of the two or three
  most doubtful ones. It is proposed if the odds that these words are wrong,
  times the odds of a match after it, divided by those before, are above one; of
  several, the one with the highest product.

  Args:
    reader: runs the network.
    pairs: at least one pair of a caption and an image number.
    vocabulary: of the captions.
    writer: of the same vocabulary, so that corrections keep what they do not
      change as it was written; None: see `open_writer`.
    with_words: whether to check each word, with the heads that stage 2 trains.
  """
  read = reader.read(pairs, with_words=with_words)
  found, edits = [], []
  for row, (caption, _) in enumerate(pairs):
    text = caption.text or _show(caption.token_ids, vocabulary)
    score = float(read.logits[row])
    words: tuple[Word, ...] = ()
    if read.replaced_probs is not None and read.corrections is not None:
      inside = slice(1, 1 + len(caption.token_ids))  # [CLS] comes first.
      outputs = read.replaced_probs[row, inside], read.corrections[row, inside]
      words = _words(caption, *outputs, vocabulary)
      edits += _edits(row, caption, *outputs, vocabulary, writer)
    found.append(
      Checked(text, score, example_negatives.sigmoid(score), words, text)
    )
  if not edits:
    return found
  scores = reader.read(
    [(edit.caption, pairs[edit.row][1]) for edit in edits],
    with_words=with_words,
    at_once=len(pairs),
  ).logits
  gains = np.zeros(len(pairs))
  for edit, score in zip(edits, map(float, scores), strict=True):
    own = found[edit.row]
    gain = edit.log_odds + score - own.score
    if gain > gains[edit.row]:
      gains[edit.row] = gain
      found[edit.row] = _with_edit(own, edit, score)
  return found


def open_writer(
  vocabulary: dataset.Vocabulary,
) -> written_captions.Writer | None:
  """Returns what writes corrections; None if words are not known."""
  return written_captions.Writer(vocabulary) if vocabulary.words else None


def _with_edit(checked: Checked, edit: _Edit, score: float) -> Checked:
  return dataclasses.replace(
    checked,
    words=tuple(
      dataclasses.replace(word, is_corrected=place in edit.places)
      for place, word in enumerate(checked.words)
    ),
    corrected=edit.caption.text,
    corrected_score=score,
  )


def _words(
  caption: dataset.Caption,
  replaced: np.ndarray,
  suggestions: np.ndarray,
  vocabulary: dataset.Vocabulary,
) -> tuple[Word, ...]:
  """Returns the outputs for each word.

  Args:
    caption: the sentence.
    replaced: float [tokens], probability that it was replaced.
    suggestions: int [tokens].
    vocabulary: of both.
  """
  return tuple(
    Word(
      text=_show([token], vocabulary),
      replaced=float(prob),
      suggestion=_show([suggestion], vocabulary),
      is_piece=captions.is_piece(token, vocabulary),
    )
    for token, prob, suggestion in zip(
      caption.token_ids, replaced, suggestions, strict=True
    )
  )


def _edits(
  row: int,
  caption: dataset.Caption,
  replaced: np.ndarray,
  suggestions: np.ndarray,
  vocabulary: dataset.Vocabulary,
  writer: written_captions.Writer | None,
) -> list[_Edit]:
  """Returns the corrections of a caption that may be proposed.

  Args:
    row: of the pair.
    caption, replaced, suggestions, vocabulary: see `_words`.
    writer: see `check`.
  """
  log_odds = special.logit(np.clip(replaced.astype(np.float64), 1e-6, 1 - 1e-6))
  places = np.flatnonzero(
    (replaced > _LEAST) & (suggestions != caption.token_ids)
  )
  places = places[np.argsort(-log_odds[places], kind='stable')]
  chosen = [places[i : i + 1] for i in range(len(places))]
  chosen += [places[:n] for n in range(2, _MOST_WORDS + 1) if n <= len(places)]
  edits = []
  for own in chosen:
    token_ids = caption.token_ids.copy()
    token_ids[own] = suggestions[own]
    text = edited(caption, token_ids, vocabulary, writer)
    if text is not None:
      changed = dataclasses.replace(caption, token_ids=token_ids, text=text)
      edits.append(
        _Edit(row, tuple(own.tolist()), float(log_odds[own].sum()), changed)
      )
  return edits


def edited(
  caption: dataset.Caption,
  token_ids: np.ndarray,
  vocabulary: dataset.Vocabulary,
  writer: written_captions.Writer | None,
) -> str | None:
  """Returns a caption with other tokens as text; None if they are no words.

  Args:
    caption: as it was written.
    token_ids: int [tokens], as many as the caption's.
    vocabulary: of both.
    writer: see `open_writer`.
  """
  if writer is None:
    return _show(token_ids, vocabulary)
  changes = written_captions.find_changes(caption, token_ids, vocabulary)
  text, _ = writer.edited(writer.written(caption), token_ids, changes)
  return text if writer.is_readable(text, token_ids, changes) else None


def _show(
  token_ids: Sequence[int] | np.ndarray, vocabulary: dataset.Vocabulary
) -> str:
  return captions.to_words(token_ids, vocabulary, is_padded=False)


class Checker:
  """Checks captions against images as users name them.

  Attributes:
    has_words: whether the network has the word heads of stage 2.
  """

  def __init__(
    self,
    loaded: checkpoints.Loaded,
    config: settings.Settings,
    data: dataset.RetrievalDataset,
    *,
    encoder: str = '',
    detector: str = '',
  ) -> None:
    """Opens a network.

    Args:
      loaded: its checkpoint.
      config: its settings, perhaps changed.
      data: the split with the images.
      encoder, detector: of photos; see `photo_regions.PhotoReader`.
    Raises:
      UserError: if they do not fit together.
    """
    self.has_words = loaded.about['phase'] == 'dc'
    self._network = loading.open_network(loaded, config, data)
    self._data = data
    max_tokens = self._network.settings.model.max_positions - 2
    self._names = naming.Names(data, max_tokens)
    self._writer = open_writer(data.vocabulary) if self.has_words else None
    self._open_photos = lambda: photo_regions.WithPhotos(
      data, photo_regions.PhotoReader(config.data, encoder, detector)
    )

  def lines(self, pairs: Sequence[tuple[str, str]]) -> Iterator[list[Line]]:
    """Yields the results of pairs in order, some at a time.

    Args:
      pairs: image and caption; an image is a name or a number, see
        `Names.image_of_text`, or the path of a photo.
    """
    images = self._find([image for image, _ in pairs])
    photos: photo_regions.WithPhotos | None = None
    if any(isinstance(image, Path) for image in images.values()):
      try:
        photos = self._open_photos()
      except errors.UserError as error:
        images = {
          name: str(error) if isinstance(image, Path) else image
          for name, image in images.items()
        }
    reader = reading.Reader(
      self._network.settings,
      self._network.params,
      photos.data if photos else self._data,
    )
    for start in range(0, len(pairs), BATCH):
      batch = pairs[start : start + BATCH]
      yield self._check(
        reader, batch, _held(photos, {name: images[name] for name, _ in batch})
      )

  def _check(
    self,
    reader: reading.Reader,
    pairs: Sequence[tuple[str, str]],
    images: Mapping[str, int | str],
  ) -> list[Line]:
    """Returns the results of a few pairs.

    Args:
      reader: runs the network.
      pairs: image and caption.
      images: name -> number, or why there is none.
    """
    lines, usable = [], {}
    for place, (name, caption) in enumerate(pairs):
      image, error = images[name], ''
      if isinstance(image, str):
        error = image
      else:
        try:
          usable[place] = self._names.captions(caption)[0], image
        except errors.UserError as problem:
          error = str(problem)
      lines.append(Line(name, caption, None, error))
    if usable:
      found = check(
        reader,
        list(usable.values()),
        self._data.vocabulary,
        self._writer,
        with_words=self.has_words,
      )
      for place, checked in zip(usable, found, strict=True):
        lines[place] = dataclasses.replace(lines[place], checked=checked)
    return lines

  def _find(self, names: Sequence[str]) -> dict[str, int | Path | str]:
    """Returns image numbers, paths of photos, or why there is neither."""
    found: dict[str, int | Path | str] = {}
    num_unknown = 0
    for name in dict.fromkeys(names):
      number = self._names.image_of_text(name)
      if number is not None:
        found[name] = number
      elif not paths.problem(name) and os.path.isfile(paths.local(name)):
        found[name] = paths.local(name)
      else:
        found[name] = (
          self._names.no_image(name, is_brief=num_unknown >= _NEAREST)
          + '; nor is it the path of a photo'
        )
        num_unknown += 1
    return found


def _held(
  photos: photo_regions.WithPhotos | None,
  images: Mapping[str, int | Path | str],
) -> dict[str, int | str]:
  """Returns numbers for photos, whose regions are then held in memory."""
  named = {
    name: image for name, image in images.items() if isinstance(image, Path)
  }
  numbers: dict[str, int | str] = {
    name: image for name, image in images.items() if not isinstance(image, Path)
  }
  if photos is not None:
    for name, number in zip(
      named, photos.hold(list(named.values())), strict=True
    ):
      numbers[name] = (
        number.reason if isinstance(number, Unreadable) else number
      )
  return numbers
