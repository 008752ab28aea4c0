"""The Python API: `import tagsdc_jax as tagsdc`; see docs/api.md.

A `Matcher` is a trained network with a split of its data. A sentence is a `str`
or the number of a caption of the split; an image is its number in the split or
its name. Invalid arguments raise a `UserError` with a one-line message.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float32, Int

from tagsdc_jax import environment, paths, settings, shipped
from tagsdc_jax.commands import configs
from tagsdc_jax.data import captions, dataset, naming, opening, written_captions
from tagsdc_jax.data.naming import Image, Sentence
from tagsdc_jax.errors import UserError
from tagsdc_jax.reporting.checked import Checked
from tagsdc_jax.reporting.checked import Word as Word  # Part of the API.
from tagsdc_jax.runs import (
  checking,
  evaluation,
  example_negatives,
  loading,
  reading,
  report,
  training,
)
from tagsdc_jax.runs import folder as run_folder
from tagsdc_jax.runtime import distributed, parallel
from tagsdc_jax.training import checkpoints

# Numbers of negatives per caption that programs are compiled for.
_SHOWN = (8, 64)


@dataclasses.dataclass(frozen=True)
class Edit:
  """A word in which a negative differs from its caption.

  Attributes:
    position: index of the word, or word piece, from 0.
    before: the caption's word; empty if the caption is shorter.
    after: the negative's word; empty if the negative is shorter.
  """

  position: int
  before: str
  after: str


@dataclasses.dataclass(frozen=True)
class Negative:
  """A sentence generated from a caption.

  Attributes:
    text: the sentence.
    score: its raw matching score with the caption's image.
    caption_score: the raw matching score of the caption.
    edits: the words in which the two differ.
  """

  text: str
  score: float
  caption_score: float
  edits: tuple[Edit, ...]


class Matcher:
  """A trained network and a split of its data; returned by `load`.

  Everything but `evaluate` runs on one device. Programs are compiled at first
  use, for 8 or 64 sentences, images or pairs.

  Attributes:
    path: the checkpoint's folder.
    phase: the phase that trained it: 'pretrain', 'tags' or 'dc'.
    update: number of updates after which it was saved.
    settings: the settings that it was trained with, with `load`'s overrides.
    data: the split, a `tagsdc_jax.data.dataset.RetrievalDataset`: its
      `captions`, `image_ids` and `captions_of_image`.

  >>> matcher = load('shipped:world_pretrain', overrides=SMALL)
  >>> matcher.phase, matcher.data.name, len(matcher.data.image_ids)
  ('pretrain', 'world/test', 24)
  """

  def __init__(
    self,
    loaded: checkpoints.Loaded,
    config: settings.Settings,
    data: dataset.RetrievalDataset,
  ) -> None:
    """Uses a checkpoint, its settings, and a split; raises UserError."""
    config, self._model, self._parameters, params = loading.open_network(
      loaded, config, data
    )
    self.path, self.settings, self.data = loaded.path, config, data
    self.phase: str = loaded.about['phase']
    self.update: int = loaded.about['update']
    self._reader = reading.Reader(config, params, data)
    self._names = naming.Names(data, config.model.max_positions - 2)
    # Compiled once per combination of sources, whatever their names.
    self._maker = functools.lru_cache(maxsize=8)(
      functools.partial(
        example_negatives.Maker, config, params, data, self.update
      )
    )

  def __repr__(self) -> str:
    return (
      f'Matcher({str(self.path)!r}, phase {self.phase}, update {self.update}, '
      f'{self.data.name})'
    )

  def score(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image] | None = None,
  ) -> Float32[np.ndarray, 'sentences images']:
    """Returns the raw matching score of every sentence with every image.

    Higher is better; 0 is a probability of one half. `evaluate` and `tagsdc
    evaluate --scores` are faster for whole splits.

    Args:
      sentences: one or several.
      images: one or several; None: all of the split.

    >>> matcher.score(['a red circle', 'there is a star'], [0, 1, 2]).shape
    (2, 3)
    """
    return self._reader.score(
      self._names.captions(sentences), self._names.images(images)
    )

  def rank(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image] | None = None,
    number: int = 10,
  ) -> Int[np.ndarray, 'sentences number']:
    """Returns the numbers of each sentence's best images, best first.

    Args:
      sentences: one or several.
      images: the images to rank; None: all of the split.
      number: maximum number of images per sentence.

    >>> best = matcher.rank(matcher.data.captions[0].text, number=3)
    >>> best[0, 0] == matcher.data.captions[0].image
    np.True_
    """
    _check_number(number)
    order = np.argsort(-self.score(sentences, images), axis=1, kind='stable')
    return self._names.images(images)[order[:, :number]]

  def evaluate(self) -> dict[str, Any]:
    """Returns the split's recalls, as `tagsdc evaluate --json` writes them.

    Runs on `num_devices` of the settings. The result contains
    `image_retrieval` and `text_retrieval` with `r1`, `r5` and `r10` in percent,
    `mean_r1` and `rsum`.

    >>> sorted(matcher.evaluate()['image_retrieval'])
    ['r1', 'r10', 'r5']
    """
    devices = parallel.local_devices(self.settings.num_devices)
    return evaluation.evaluate(
      self._model,
      parallel.replicate(self._parameters, devices),
      self.data,
      self.settings,
      self.phase,
      devices,
    ).result

  def embed(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image],
  ) -> Float32[np.ndarray, 'pairs D']:
    """Returns the joint embedding of each pair of a sentence and an image.

    The matching score is a linear function of it. The network reads sentence
    and image together, so neither has a separate embedding.

    Args:
      sentences: as many as images, or one for all.
      images: as many as sentences, or one for all.

    >>> matcher.embed('a red circle north of a blue square', [0, 1, 2]).shape
    (3, 64)
    """
    return self._reader.read(self._pairs(sentences, images)).pooled

  def check(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image],
    *,
    words: bool | None = None,
  ) -> list[Checked]:
    """Returns whether each sentence matches its image, and which words do not.

    Args:
      sentences: as many as images, or one for all.
      images: as many as sentences, or one for all.
      words: whether to check each word, with the heads that stage 2 ('dc')
        trains; None: if they are trained.

    >>> [checked] = matcher.check('a small red star', 0)
    >>> 0 < checked.probability < 1
    True
    """
    if words and self.phase != 'dc':
      raise UserError(
        f'{self.path} was trained in phase {self.phase}, which has no word '
        'heads; pass a run of phase dc, or words=False'
      )
    return checking.check(
      self._reader,
      self._pairs(sentences, images),
      self.data.vocabulary,
      self._writer,
      with_words=self.phase == 'dc' if words is None else words,
    )

  def negatives(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image] | None = None,
    *,
    source: str | None = None,
    number: int = 8,
    seed: int = 0,
  ) -> list[list[Negative]]:
    """Returns the hardest sentences generated from each caption, hardest first.

    They are generated as in training, with the `negatives` of the settings, one
    caption at a time, so that the results do not depend on the other captions.
    `negatives.unit` says whether captions of the split are masked by phrases. A
    custom sentence has no phrases: its words are masked one by one.

    Args:
      sentences: captions to generate negatives from.
      images: images that the captions are true of; None: the captions are from
        the split, and their own images are used.
      source: source of the sentences: 'mask_refill', 'word_swap' or your own
        module:function; None: those of the settings, else 'mask_refill'.
      number: maximum number of negatives per caption.
      seed: seed of the random draws.

    >>> [found] = matcher.negatives(0, number=3)
    >>> found[0].score >= found[-1].score
    True
    """
    _check_number(number)
    own = self._names.captions(sentences)
    if images is not None:
      own = [
        dataclasses.replace(caption, image=image)
        for caption, image in naming.pairs(own, self._names.images(images))
      ]
    for caption in own:
      if caption.image == naming.NO_IMAGE:
        raise UserError(
          f'images must name the image that {caption.text!r} is true of; only '
          'captions of the split, given by number, have one'
        )
    # The same PRNG keys as in the report, derived from the caption's number.
    keys = [
      0 if isinstance(one, str) else int(one)
      for one in naming.listed(sentences)
    ]
    maker = self._maker(
      example_negatives.writers(self.settings, (source,) if source else ()),
      next((x for x in _SHOWN if x >= number), number),
    )
    return [
      self._shown(caption, maker.find(caption, keys[i % len(keys)], seed))[
        :number
      ]
      for i, caption in enumerate(own)
    ]

  @functools.cached_property
  def _writer(self) -> written_captions.Writer | None:
    return checking.open_writer(self.data.vocabulary)

  def _shown(
    self, caption: dataset.Caption, found: example_negatives.Found
  ) -> list[Negative]:
    """Returns negatives in human-readable form."""
    before = self._words(caption.token_ids)
    shown = []
    for row in np.flatnonzero(found.is_filled):
      token_ids = found.token_ids[row, 1 : found.num_tokens[row] - 1]
      edits = tuple(
        Edit(position, *pair)
        for position, pair in enumerate(
          itertools.zip_longest(before, self._words(token_ids), fillvalue='')
        )
        if pair[0] != pair[1]
      )
      shown.append(
        Negative(
          self._sentence(token_ids),
          float(found.logits[row]),
          float(found.own_logit),
          edits,
        )
      )
    return shown

  def _pairs(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image],
  ) -> list[tuple[dataset.Caption, int]]:
    return naming.pairs(
      self._names.captions(sentences), self._names.images(images)
    )

  def _sentence(self, token_ids: np.ndarray) -> str:
    return captions.to_words(token_ids, self.data.vocabulary, is_padded=False)

  def _words(self, token_ids: np.ndarray) -> list[str]:
    return [self._sentence(token_ids[i : i + 1]) for i in range(len(token_ids))]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences the log messages of Orbax and TFDS, as `tagsdc` does.

  Errors that Orbax logs are also raised.
  """
  before = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)
  try:
    yield
  finally:
    logging.set_verbosity(before)


@_quiet()
def load(
  path: str | os.PathLike,
  data: str | dataset.RetrievalDataset = 'test',
  *,
  overrides: Mapping[str, Any] | None = None,
) -> Matcher:
  """Returns a trained network with a split of its data.

  Args:
    path: a run folder (its best checkpoint by validation), one checkpoint, or
      weights that come with the package, such as 'shipped:world_pretrain'.
    data: 'train', 'validation' or 'test' for a split of the data that it was
      trained on, or a dataset of your own.
    overrides: settings to change, by their dotted names; all but `phase` and
      those of `model`.
  Raises:
    UserError: if something is missing or does not match.

  >>> SMALL = {
  ...   'data.world_size': 'tiny',
  ...   'evaluation.num_buckets': 1,
  ...   'num_devices': 1,
  ... }
  >>> load('shipped:world_pretrain', overrides=SMALL)
  Matcher('...world_pretrain', phase pretrain, update 600, world/test)
  """
  _prepare_jax()
  overrides = dict(overrides or {})
  fixed = [x for x in overrides if x == 'phase' or x.startswith('model.')]
  if fixed:
    raise UserError(
      f'{fixed[0]} is part of the trained network and cannot be overridden; '
      'train with another value'
    )
  loaded = checkpoints.load(shipped.find(_path('path', path)))
  config = loading.overridden(checkpoints.settings_of(loaded), overrides)
  if not isinstance(data, dataset.RetrievalDataset):
    if data not in opening.SPLITS:
      raise UserError(
        f'data must be one of {", ".join(opening.SPLITS)}, or a '
        f'RetrievalDataset, got {data!r}'
      )
    data = opening.open_split(config.data, data, config.extensions)
  return Matcher(loaded, config, data)


@_quiet()
def train(
  config: str | os.PathLike | settings.Settings,
  run_dir: str | os.PathLike,
  *,
  overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Trains one phase as `tagsdc train` does, or continues the run in a folder.

  Args:
    config: name or path of a config file, or settings.
    run_dir: the run folder, which `load` accepts afterwards.
    overrides: settings to change, by their dotted names.
  Returns:
    The contents of `results.json` in the folder: `evaluation` with the recalls
    on the test split, `validation`, `seconds` and others; see
    `tagsdc_jax.runs.training.train`.
  Raises:
    UserError: for a config, data or folder that cannot be used.
  """
  overrides = overrides or {}
  if isinstance(config, settings.Settings):
    config = loading.overridden(config, overrides)
  else:
    config = configs.with_values(_path('config', config), overrides)
  distributed.start()
  _prepare_jax()
  return training.train(config, paths.local(_path('run_dir', run_dir)))


def metrics(run_dir: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the lines of a run's metrics.jsonl, by update.

  Each line has `update`, `kind` ('train' or 'validation') and metrics by name.
  While a run is active, returns what it has written so far.

  Args:
    run_dir: the run folder, or weights that come with the package.
  Raises:
    UserError: if there is no such folder.

  >>> losses = [
  ...   line['loss']
  ...   for line in metrics('shipped:world_pretrain')
  ...   if line['kind'] == 'train'
  ... ]
  >>> losses[-1] < losses[0]
  True
  """
  path = shipped.find(_path('run_dir', run_dir))
  if not path.is_dir():
    raise UserError(f'{path} must be a run folder, but there is no such folder')
  return report.read_metrics(path / run_folder.METRICS)


def _prepare_jax() -> None:
  """Sets up JAX as in the commands; warns where that changes a setting."""
  environment.settle()
  environment.open_devices()


def _path(name: str, value: Any) -> str:
  if not isinstance(value, str | os.PathLike):
    raise UserError(
      f'{name} must be a str or a path, got {value!r} of type '
      f'{type(value).__name__}'
    )
  return os.fspath(value)


def _check_number(number: int) -> None:
  if number < 1:
    raise UserError(f'number must be at least 1, got {number}')
