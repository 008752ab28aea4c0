"""The Python API: `import tagsdc_jax as tagsdc`; see docs/api.md.

A `Matcher` is a trained network with a split of its data. A sentence is a
`str`, or the number of one of the split's captions; an image is its number in
the split, or its name. What is wrong with an argument is a `UserError` of one
line.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int

from tagsdc_jax import arrays, environment, paths, settings, shipped
from tagsdc_jax.commands import configs
from tagsdc_jax.data import assembling, captions, dataset, opening
from tagsdc_jax.engines import engine
from tagsdc_jax.errors import UserError
from tagsdc_jax.negatives import built_in
from tagsdc_jax.negatives import source as source_of
from tagsdc_jax.runs import (
  evaluation,
  example_negatives,
  report,
  setup,
  training,
)
from tagsdc_jax.runs import folder as run_folder
from tagsdc_jax.runtime import distributed, parallel
from tagsdc_jax.training import checkpoints, head_init

Sentence = str | int
Image = str | int
# Sentences, images or pairs at once; of fewer the next size is compiled.
_SIZES = (1, 8, 64)
# Sentences that are longer than the split's captions are padded to multiples.
_STEP = 8


@dataclasses.dataclass(frozen=True)
class Edit:
  """A word of a negative that is not the caption's.

  Attributes:
    position: counted from 0, word pieces counted one by one.
    before: the caption's word; empty if it has none there.
    after: the negative's word; empty if it has none there.
  """

  position: int
  before: str
  after: str


@dataclasses.dataclass(frozen=True)
class Negative:
  """A sentence that the network wrote from a caption.

  Attributes:
    text: the sentence.
    score: its raw matching score with the caption's image.
    caption_score: the caption's own.
    edits: the words in which they differ.
  """

  text: str
  score: float
  caption_score: float
  edits: tuple[Edit, ...]


@dataclasses.dataclass(frozen=True)
class Word:
  """What the word heads of stage 2 say of a word of a sentence.

  Attributes:
    text: the word, or the word piece.
    replaced: the probability that it does not belong there, 0 to 1.
    suggestion: the word that the correction head prefers.
  """

  text: str
  replaced: float
  suggestion: str


@dataclasses.dataclass(frozen=True)
class Checked:
  """What the network says of a sentence and an image.

  Attributes:
    text: the sentence.
    probability: that they match, 0 to 1; the logistic function of the score.
    words: each word; empty before stage 2.
    corrected: the sentence with the suggestions for those words that are
      replaced with a probability above 0.5; as `text` before stage 2.
  """

  text: str
  probability: float
  words: tuple[Word, ...]
  corrected: str


class Matcher:
  """A trained network and a split of its data; made by `load`.

  Everything but `evaluate` runs on one device. Programs are compiled at their
  first use, for 1, 8 or 64 sentences, images or pairs at once.

  Attributes:
    path: the checkpoint's folder.
    phase: that trained it: 'pretrain', 'tags' or 'dc'.
    update: after how many updates it was saved.
    settings: what it was trained with, with `load`'s overrides.
    data: the split, a `tagsdc_jax.data.dataset.RetrievalDataset`: its
      `captions`, `image_ids` and `captions_of_image`.
  """

  def __init__(
    self,
    loaded: checkpoints.Loaded,
    config: settings.Settings,
    data: dataset.RetrievalDataset,
  ) -> None:
    """Takes a checkpoint, its settings, and a split; raises UserError."""
    config, self._model = setup.open_model(loaded, config, data)
    setup.check_positions(config.model, data)
    self.path, self.settings, self.data = loaded.path, config, data
    self.phase: str = loaded.about['phase']
    self.update: int = loaded.about['update']
    self._parameters = setup.ranking_parameters(loaded, config)
    self._params = jax.device_put(
      head_init.matching_parameters(self._parameters, self.phase)
    )
    self._shapes = assembling.shapes_of(data)
    self._image_numbers = {name: i for i, name in enumerate(data.image_ids)}
    self._negatives_by = functools.lru_cache(maxsize=8)(self._make_negatives)

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

    The higher the better; 0 is a probability of one half. To score whole
    splits, `evaluate` and `tagsdc evaluate --scores` are faster.

    Args:
      sentences: one or several.
      images: one or several; None for all of the split.

    >>> matcher = load('shipped:world_pretrain', overrides=TINY)
    >>> matcher.score(['a red circle', 'there is a star'], [0, 1, 2]).shape
    (2, 3)
    """
    rows, numbers = self._captions(sentences), self._images(images)
    scores = np.zeros((len(rows), len(numbers)), np.float32)
    own = self._engine(rows)
    for columns, is_image in _batches(len(numbers)):
      regions = self._regions(numbers[columns])
      for lines, is_sentence in _batches(len(rows)):
        scores[np.ix_(lines, columns)] = _score(
          own,
          self._params,
          self._texts([rows[i] for i in lines], own),
          regions,
          is_sentence[:, None] & is_image,
        )
    return scores

  def rank(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image] | None = None,
    number: int = 10,
  ) -> Int[np.ndarray, 'sentences number']:
    """Returns the numbers of each sentence's best images, best first.

    Args:
      sentences: one or several.
      images: among which; None for all of the split.
      number: how many at most.

    >>> matcher = load('shipped:world_pretrain', overrides=TINY)
    >>> best = matcher.rank(matcher.data.captions[0].text, number=3)
    >>> best[0, 0] == matcher.data.captions[0].image
    np.True_
    """
    order = np.argsort(-self.score(sentences, images), axis=1, kind='stable')
    return self._images(images)[order[:, :number]]

  def evaluate(self) -> dict[str, Any]:
    """Returns the split's recalls, as `tagsdc evaluate --json` writes them.

    On `num_devices` of the settings. Of the result: `image_retrieval` and
    `text_retrieval` with `r1`, `r5` and `r10` in per cent, `mean_r1`, `rsum`.

    >>> matcher = load('shipped:world_pretrain', overrides=TINY)
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

    What the matching score is a linear function of. The network reads
    sentence and image together, so neither has an embedding of its own.

    Args:
      sentences: as many as images, or one for all.
      images: as many as sentences, or one for all.

    >>> matcher = load('shipped:world_pretrain', overrides=TINY)
    >>> matcher.embed('a red circle above a blue square', [0, 1, 2]).shape
    (3, 64)
    """
    read = [one[1] for one in self._read(sentences, images, False)]
    return np.stack(read).astype(np.float32)

  def check(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image],
    *,
    words: bool | None = None,
  ) -> list[Checked]:
    """Returns what the network says of each pair of a sentence and an image.

    Args:
      sentences: as many as images, or one for all.
      images: as many as sentences, or one for all.
      words: whether to check every word, for which stage 2 ('dc') trains the
        heads; None: if they are trained.

    >>> matcher = load('shipped:world_pretrain', overrides=TINY)
    >>> [checked] = matcher.check('a small red star', 0)
    >>> 0 < checked.probability < 1
    True
    """
    if words and self.phase != 'dc':
      raise UserError(
        f'{self.path} was trained in phase {self.phase}, which has no word '
        'heads; give a run of phase dc, or words=False'
      )
    read = self._read(
      sentences, images, self.phase == 'dc' if words is None else words
    )
    return [self._checked(*one) for one in read]

  def negatives(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image] | None = None,
    *,
    source: str | None = None,
    number: int = 8,
    seed: int = 0,
  ) -> list[list[Negative]]:
    """Returns the hardest sentences written from each caption, hardest first.

    Written as in training, with the settings' `negatives`, one caption after
    the other, so that a caption's do not depend on the others. Captions of the
    split are masked phrase by phrase where `negatives.unit` says so. A sentence
    of your own has no phrases: its words are masked one by one.

    Args:
      sentences: captions to write from.
      images: what they are true of; None: captions of the split are of their
        own images.
      source: that writes: 'mask_refill', 'word_swap' or your own
        module:function; None: those of the settings, else 'mask_refill'.
      number: how many per caption at most.
      seed: another one draws other sentences.

    >>> matcher = load('shipped:world_pretrain', overrides=TINY)
    >>> [found] = matcher.negatives(0, number=3)
    >>> found[0].score >= found[-1].score
    True
    """
    listed = _listed(sentences)
    if images is None:
      own = [self._caption(one) for one in listed]
      wrong = [x for x, caption in zip(listed, own) if caption.image < 0]
      if wrong:
        raise UserError(
          f'images must name the image that {wrong[0]!r} is true of; only '
          'captions of the split, given by number, have one'
        )
    else:
      own = [
        dataclasses.replace(self._caption(one), image=int(image))
        for one, image in _pairs(listed, self._images(images))
      ]
    if number < 1:
      raise UserError(f'number must be at least 1, got {number}')
    maker = self._negatives_by(source, number)
    return [
      self._shown(
        caption,
        maker.find(caption, 0 if isinstance(one, str) else int(one), seed),
      )
      for one, caption in zip(listed, own)
    ]

  def _make_negatives(
    self, source: str | None, number: int
  ) -> example_negatives.Maker:
    found = (
      source and source_of.find((source,), built_in.BUILT_IN, self.settings)
    ) or None
    if found and not found[0].writes:
      raise UserError(
        f'source must be one that writes sentences, got {source!r}, which '
        'retrieves them; see `Matcher.score` for those'
      )
    return example_negatives.Maker(
      self.settings, self._params, self.data, self.update, found, number
    )

  def _shown(
    self, caption: dataset.Caption, found: example_negatives.Found
  ) -> list[Negative]:
    """Returns negatives for people."""
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
          captions.to_words(token_ids, self.data.vocabulary),
          float(found.logits[row]),
          float(found.own_logit),
          edits,
        )
      )
    return shown

  def _checked(
    self,
    caption: dataset.Caption,
    pooled: np.ndarray,
    logit: np.ndarray,
    probs: np.ndarray | None = None,
    suggestions: np.ndarray | None = None,
  ) -> Checked:
    """Returns what was read of one pair, for people."""
    probability = example_negatives.sigmoid(float(logit))
    token_ids, text = caption.token_ids, self._text(caption)
    if probs is None or suggestions is None:
      return Checked(text, probability, (), text)
    inside = slice(1, 1 + len(token_ids))
    probs, suggestions = probs[inside], suggestions[inside]
    columns = (
      self._words(token_ids),
      map(float, probs),
      self._words(suggestions),
    )
    is_wrong = probs > 0.5
    corrected = np.where(is_wrong, suggestions, token_ids)
    return Checked(
      text,
      probability,
      tuple(map(Word, *columns)),
      captions.to_words(corrected, self.data.vocabulary)
      if np.any(is_wrong)
      else text,
    )

  def _read(
    self,
    sentences: Sentence | Sequence[Sentence],
    images: Image | Sequence[Image],
    with_words: bool,
  ) -> list[tuple[Any, ...]]:
    """Returns of each pair its caption, and what `_read_pairs` gives."""
    pairs = _pairs(self._captions(sentences), self._images(images))
    own = self._engine([caption for caption, _ in pairs])
    found: list[tuple[Any, ...]] = []
    for rows, is_pair in _batches(len(pairs)):
      read = _read_pairs(
        own,
        with_words,
        self._params,
        self._texts([pairs[i][0] for i in rows], own),
        self._regions([pairs[i][1] for i in rows]),
      )
      count = int(np.sum(is_pair))
      columns = [np.asarray(x)[:count] for x in read]
      found += [
        (pairs[i][0], *values)
        for i, *values in zip(rows[:count], *columns, strict=True)
      ]
    return found

  @functools.cached_property
  def _encode(self) -> Any:
    return captions.make_encoder(self.data.vocabulary)

  def _captions(
    self, sentences: Sentence | Sequence[Sentence]
  ) -> list[dataset.Caption]:
    return [self._caption(one) for one in _listed(sentences)]

  def _caption(self, sentence: Sentence) -> dataset.Caption:
    """Returns a caption of the split, or one of image -1 of a `str`."""
    known = self.data.captions
    if isinstance(sentence, int | np.integer):
      if not 0 <= sentence < len(known):
        raise UserError(
          f'a caption of {self.data.name} is a number from 0 to '
          f'{len(known) - 1}, got {sentence}'
        )
      return known[int(sentence)]
    token_ids = self._encode(sentence)
    most = self.settings.model.max_positions - 2
    if len(token_ids) > most:
      raise UserError(
        f'a sentence must have at most {most} tokens '
        f'(model.max_positions), got {len(token_ids)}: {sentence[:60]!r}'
      )
    return dataset.Caption(sentence, -1, token_ids, (), sentence)

  def _images(self, images: Image | Sequence[Image] | None) -> np.ndarray:
    """Returns numbers of images, int [any number]."""
    names = self.data.image_ids
    if images is None:
      return np.arange(len(names))
    numbers = [
      self._image_numbers.get(one, -1) if isinstance(one, str) else one
      for one in _listed(images)
    ]
    for one, number in zip(_listed(images), numbers):
      if not isinstance(number, int | np.integer) or not 0 <= number < len(
        names
      ):
        raise UserError(
          f'an image of {self.data.name} is a number from 0 to '
          f'{len(names) - 1}, or a name such as {names[0]!r}, got {one!r}'
        )
    return np.array(numbers, np.int64)

  def _engine(self, rows: Sequence[dataset.Caption]) -> engine.Engine:
    """Returns what runs pairs of these captions and any image."""
    longest = max(len(caption.token_ids) for caption in rows)
    length = self._shapes.max_tokens + 2
    if longest + 2 > length:
      length = min(
        -(-(longest + 2) // _STEP) * _STEP, self.settings.model.max_positions
      )
    vocabulary = self.data.vocabulary
    return setup.make_engine(
      engine.Task(
        model=self._model,
        settings=self.settings,
        mask_id=vocabulary.mask,
        random_range=vocabulary.random_range,
        score_buckets=(length + self._shapes.max_regions,),
      )
    )

  def _texts(
    self, rows: list[dataset.Caption], own: engine.Engine
  ) -> arrays.Texts:
    data = dataclasses.replace(self.data, captions=rows)
    length = own.task.score_buckets[0] - self._shapes.max_regions
    return assembling.texts(data, range(len(rows)), length - 2)

  def _regions(self, numbers: Sequence[int] | np.ndarray) -> arrays.Images:
    return assembling.images(self.data, numbers, self._shapes.max_regions)

  def _text(self, caption: dataset.Caption) -> str:
    return caption.text or captions.to_words(
      caption.token_ids, self.data.vocabulary
    )

  def _words(self, token_ids: np.ndarray) -> list[str]:
    vocabulary = self.data.vocabulary
    return [captions.to_words([i], vocabulary) for i in token_ids]


def load(
  path: str | os.PathLike,
  data: str | dataset.RetrievalDataset = 'test',
  *,
  overrides: Mapping[str, Any] | None = None,
) -> Matcher:
  """Returns a trained network with a split of its data.

  Args:
    path: a run folder (its best checkpoint by validation), one checkpoint, or
      weights that come with the package, 'shipped:world_pretrain'.
    data: 'train', 'validation' or 'test' of the data that it was trained on,
      or a data set of your own.
    overrides: settings that are to differ from those that it was trained with,
      by their dotted names; not `phase` and `model`.
  Raises:
    UserError: if something is missing or does not fit.

  >>> load('shipped:world_pretrain', overrides={'data.world_size': 'tiny'})
  Matcher('...world_pretrain', phase pretrain, update 2200, world/test)
  """
  _prepare_jax()
  overrides = dict(overrides or {})
  fixed = [x for x in overrides if x == 'phase' or x.startswith('model.')]
  if fixed:
    raise UserError(
      f'{fixed[0]} is part of what was trained and cannot be overridden; '
      'train with another value'
    )
  loaded = checkpoints.load(shipped.find(os.fspath(path)))
  config = setup.overridden(checkpoints.settings_of(loaded), overrides)
  if isinstance(data, str):
    if data not in opening.SPLITS:
      raise UserError(
        f'data must be one of {", ".join(opening.SPLITS)}, or a data set, got '
        f'{data!r}'
      )
    data = opening.open_split(config.data, data, config.extensions)
  return Matcher(loaded, config, data)


def train(
  config: str | os.PathLike | settings.Settings,
  run_dir: str | os.PathLike,
  *,
  overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Trains one phase as `tagsdc train` does, or continues the run in a folder.

  Args:
    config: name or path of a config file, or settings.
    run_dir: the run's folder; `load` takes it afterwards.
    overrides: settings to be changed, by their dotted names.
  Returns:
    what `results.json` in the folder holds: `evaluation` with the recalls on
    the test split, `validation`, `seconds` and others; see
    `tagsdc_jax.runs.training.train`.
  Raises:
    UserError: for a config, data or folder that cannot be used.

  >>> results = train(
  ...   'world_pretrain',
  ...   'runs/two_updates',
  ...   overrides=TINY | {'num_updates': 2, 'optimizer.warmup_updates': 1},
  ... )
  >>> results['phase'], results['updates']
  ('pretrain', 2)
  """
  overrides = overrides or {}
  if isinstance(config, settings.Settings):
    config = setup.overridden(config, overrides)
  else:
    config = configs.with_values(os.fspath(config), overrides)
  distributed.start()
  _prepare_jax()
  return training.train(config, paths.local(os.fspath(run_dir)))


def metrics(run_dir: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the lines of a run's metrics.jsonl, by update.

  Each has `update`, `kind` ('train' or 'validation') and numbers by name. Of a
  run that is at work, what it has written so far.

  Args:
    run_dir: its folder, or weights that come with the package.
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
  path = shipped.find(os.fspath(run_dir))
  if not path.is_dir():
    raise UserError(f'{path} must be the folder of a run; there is none')
  return report.read_metrics(path / run_folder.METRICS)


def _prepare_jax() -> None:
  """Has JAX compute as in the commands; says so where that is a change."""
  environment.settle()
  environment.open_devices()


def _listed(given: Any) -> list[Any]:
  """Returns one item or several as a list."""
  if isinstance(given, str | int | np.integer):
    return [given]
  try:
    listed = list(given)
  except TypeError:
    listed = []
  if not listed:
    raise UserError(
      'sentences and images must be given as a str, a number, or several of '
      f'them, got {given!r}'
    )
  return listed


def _pairs(sentences: Sequence[Any], images: np.ndarray) -> list[tuple]:
  """Returns sentences with images; one goes with all of the others."""
  count = max(len(sentences), len(images))
  if not {len(sentences), len(images)} <= {1, count}:
    raise UserError(
      'there must be as many images as sentences, or one for all, got '
      f'{len(sentences)} sentences and {len(images)} images'
    )
  return [
    (sentences[i % len(sentences)], int(images[i % len(images)]))
    for i in range(count)
  ]


def _batches(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields numbers of items, the last one repeated, and which are needed."""
  for start in range(0, count, _SIZES[-1]):
    left = count - start
    size = next((x for x in _SIZES if x >= left), _SIZES[-1])
    yield (
      np.minimum(np.arange(start, start + size), count - 1),
      np.arange(size) < left,
    )


@functools.partial(jax.jit, static_argnums=0)
def _score(
  own: engine.Engine,
  params: Any,
  texts: arrays.Texts,
  images: arrays.Images,
  is_needed: jax.Array,
) -> jax.Array:
  """Returns float32 [texts, images]."""
  rows = jnp.arange(is_needed.size, dtype=jnp.int32)
  return own.score(
    params,
    own.embed_text(params, texts),
    own.embed_image(params, images),
    rows // is_needed.shape[1],
    rows % is_needed.shape[1],
    is_needed.reshape(-1),
  ).reshape(is_needed.shape)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _read_pairs(
  own: engine.Engine,
  with_words: bool,
  params: Any,
  texts: arrays.Texts,
  images: arrays.Images,
) -> tuple[jax.Array, ...]:
  """Returns of each pair its embedding and score, and what its words are."""
  states = own.encode(
    params,
    own.embed_text(params, texts),
    own.embed_image(params, images),
    num_outputs=texts.token_ids.shape[1] if with_words else 1,
    dropout_key=None,
  )
  return (
    own.read(params, 'pooled', states),
    own.read(params, 'match_logits', states),
    *(example_negatives.read_words(own, params, states) if with_words else ()),
  )
