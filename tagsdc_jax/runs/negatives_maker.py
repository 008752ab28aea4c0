"""Makes the records of captions: writes, scores and chooses negatives."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import files, settings
from tagsdc_jax.data import (
  assembling,
  dataset,
  opening,
  trigrams,
  written_captions,
)
from tagsdc_jax.evaluation import calibration as calibration_lib
from tagsdc_jax.negative_files import choosing, records
from tagsdc_jax.negatives import source
from tagsdc_jax.runs import (
  blind_head,
  calibrating,
  checking,
  loading,
  negatives_folder,
  reading,
  sentence_batches,
  sentence_programs,
)
from tagsdc_jax.runtime import distributed, parallel
from tagsdc_jax.training import checkpoints

# A caption as it was written, what was chosen, and what was dropped.
_Found = tuple[
  written_captions.Written, list[choosing.Chosen], Mapping[str, int]
]


@dataclasses.dataclass(frozen=True)
class Request:
  """What is generated.

  Attributes:
    matcher: the checkpoint whose network writes and scores.
    config: its settings, with overrides.
    sources: of negatives; they write.
    data: the captions, and their pictures.
    paths: of the pictures, relative to `photos`, empty where unknown; [] if
      all are.
    photos: folder of the pictures; empty if unknown.
    limits: what is kept. Its `min_fluency` is not read, but found.
    fluency: share of the words of real captions that are less fluent than any
      word of a negative; 0: any negative.
    judge: the checkpoint that says what is true; None: `matcher`.
    start: the checkpoint that `static_refill` writes with; None: `matcher`.
  """

  matcher: checkpoints.Loaded
  config: settings.Settings
  sources: tuple[source.Source, ...]
  data: dataset.RetrievalDataset
  paths: Sequence[str]
  photos: str
  limits: choosing.Limits
  fluency: float
  judge: checkpoints.Loaded | None = None
  start: checkpoints.Loaded | None = None


class Maker:
  """Makes the records of captions."""

  def __init__(self, out: Path, request: Request) -> None:
    self._request = request
    self._devices = parallel.local_devices(request.config.num_devices)
    data, config = request.data, request.config
    limits = request.limits
    is_judged = limits.max_probability is not None
    held_out = None
    if is_judged or request.fluency:
      held_out = opening.open_split(
        config.data, 'validation', config.extensions
      )
      dataset.check_same_vocabulary(held_out, data)
    language, lowest = None, None
    if held_out is not None and request.fluency:
      language, lowest = _language(config, held_out, request.fluency)
    self._chooser = choosing.Chooser(
      dataclasses.replace(limits, min_fluency=lowest), data.vocabulary, language
    )
    shapes = assembling.shapes_of(data)
    if held_out is not None and is_judged:
      shapes = _widest(shapes, assembling.shapes_of(held_out))
    network = self._network(request.matcher)
    self._network_of_matcher = network
    self._matcher = self._programs(network, shapes, request)
    self._scorers = [self._matcher]
    if is_judged and request.judge is not None:
      judge = self._network(request.judge)
      self._scorers.append(self._programs(judge, shapes, request))
    self._batches = sentence_batches.for_writing(
      data, shapes, config.seed, self._devices, self._matcher
    )
    self._calibration: calibration_lib.Calibration | None = None
    if held_out is not None and is_judged:
      self._calibration = self._calibrate(
        out, dataclasses.replace(self._batches, data=held_out)
      )
    self._reader: reading.Reader | None = None
    if request.matcher.about['phase'] == 'dc':
      self._reader = reading.Reader(
        network.config, parallel.first(network.params), data
      )
    self._writer = checking.open_writer(data.vocabulary)

  def make(
    self, numbers: Sequence[int], made: Callable[[int], Any]
  ) -> list[records.Captioned]:
    """Returns the records of captions.

    Args:
      numbers: of the captions.
      made: called with the number of captions whenever some are done.
    """
    found = []
    for group in sentence_batches.write(
      self._batches, self._matcher, self._scorers, numbers
    ):
      found += [(one, self._choose(one)) for one in group]
      made(len(group))
    negatives = self._negatives([(one.number, own[1]) for one, own in found])
    return [self._record(one, own, negatives) for one, own in found]

  def read_blind(
    self, pairs: Sequence[tuple[str, str, str]]
  ) -> dict[str, float]:
    """Returns how often the language head prefers captions without pictures.

    Args:
      pairs: caption, negative and kind of each; at least one.
    """
    network = self._network_of_matcher
    return blind_head.Reader(
      network.config,
      network.params,
      self._request.data.vocabulary,
      self._devices,
    ).accuracy(*zip(*pairs, strict=True))

  def _choose(self, one: sentence_batches.Written) -> _Found:
    data = self._request.data
    caption = data.captions[one.number]
    others = [
      data.captions[number].token_ids
      for number in data.captions_of_image[caption.image]
      if number != one.number
    ]
    probabilities = self._probabilities(one)
    return self._chooser(
      caption,
      others,
      choosing.Candidates(
        one.token_ids,
        one.num_tokens,
        one.is_valid,
        one.scores[0, 1:],
        None if probabilities is None else probabilities[1:],
        [self._request.sources[i].name for i in one.source],
      ),
    )

  def _probabilities(self, one: sentence_batches.Written) -> np.ndarray | None:
    if self._calibration is None:
      return None
    scores = one.scores[-1]
    return self._calibration.probability(scores, scores[0])

  def _negatives(
    self, found: Sequence[tuple[int, Sequence[choosing.Chosen]]]
  ) -> Iterator[records.Negative]:
    """Yields negatives, with what stage 2 says of their words.

    Args:
      found: caption numbers and what was chosen.
    """
    chosen = [(one, number) for number, sentences in found for one in sentences]
    if self._reader is None or not chosen:
      yield from (one.negative for one, _ in chosen)
      return
    data = self._request.data
    pairs = [
      (
        dataset.Caption('', 0, one.token_ids, (), one.negative.text),
        data.captions[number].image,
      )
      for one, number in chosen
    ]
    for start in range(0, len(pairs), checking.BATCH):
      part = slice(start, start + checking.BATCH)
      checked = checking.check(
        self._reader,
        pairs[part],
        data.vocabulary,
        self._writer,
        with_words=True,
      )
      for (one, _), own in zip(chosen[part], checked, strict=True):
        yield dataclasses.replace(
          one.negative,
          words=tuple(data.vocabulary.words[i] for i in one.token_ids),
          replaced=tuple(word.replaced for word in own.words),
          corrected=own.corrected,
        )

  def _record(
    self,
    one: sentence_batches.Written,
    found: _Found,
    negatives: Iterator[records.Negative],
  ) -> records.Captioned:
    written, chosen, dropped = found
    data = self._request.data
    caption = data.captions[one.number]
    probabilities, paths = self._probabilities(one), self._request.paths
    return records.Captioned(
      caption.caption_id,
      data.image_ids[caption.image],
      paths[caption.image] if paths else '',
      written.text,
      float(one.scores[0, 0]),
      None if probabilities is None else float(probabilities[0]),
      choosing.phrases_of(caption, written),
      tuple(itertools.islice(negatives, len(chosen))),
      dropped,
    )

  def _network(self, loaded: checkpoints.Loaded) -> sentence_programs.Network:
    """Returns a checkpoint's network on the devices."""
    request = self._request
    if loaded is request.matcher:
      config = request.config
    else:
      config = dataclasses.replace(
        checkpoints.settings_of(loaded),
        compute=request.config.compute,
        extensions=request.config.extensions,
      )
    network = loading.open_network(loaded, config, request.data)
    start = None
    if request.start is not None and loaded is request.matcher:
      start = parallel.replicate(
        loading.open_network(request.start, config, request.data).params,
        self._devices,
      )
    return sentence_programs.Network(
      network.settings,
      parallel.replicate(network.params, self._devices),
      start,
      tuple(self._devices),
    )

  def _programs(
    self,
    network: sentence_programs.Network,
    shapes: assembling.Shapes,
    request: Request,
  ) -> sentence_programs.Programs:
    return sentence_programs.Programs(
      network,
      request.data,
      shapes,
      request.sources,
      request.matcher.about['update'],
    )

  def _calibrate(
    self, out: Path, batches: sentence_batches.Batches
  ) -> calibration_lib.Calibration:
    """Calibrates in the first process, once; the others read the result."""
    path = negatives_folder.calibration(out)

    def calibrate() -> None:
      if not path.is_file():
        found = calibrating.calibrate(batches, self._matcher, self._scorers[-1])
        files.write_json(
          path, {'max_true': self._request.limits.max_probability, **found}
        )

    distributed.on_first(calibrate)
    return calibration_lib.Calibration(
      **(negatives_folder.read_calibration(out) or {})['weights']
    )


def _language(
  config: settings.Settings, held_out: dataset.RetrievalDataset, share: float
) -> tuple[trigrams.Model, float]:
  """Returns a model of the training captions, and the lowest fluency.

  Args:
    config: with the data.
    held_out: the validation split.
    share: of the words of its captions that are less fluent.
  """
  train = opening.open_split(config.data, 'train', config.extensions)
  model = trigrams.Model(
    [caption.token_ids for caption in train.captions], train.vocabulary
  )
  found = np.concatenate(
    [
      model.log_probs(caption.token_ids[None])[0]
      for caption in held_out.captions
    ]
  )
  return model, float(np.quantile(found, share))


def _widest(*shapes: assembling.Shapes) -> assembling.Shapes:
  return assembling.Shapes(
    *(
      max(sizes)
      for sizes in zip(*map(dataclasses.astuple, shapes), strict=True)
    )
  )
