"""Writes the file of negatives of a split's captions.

Captions are done in shards of 256, whichever process does them and in whatever
order; a stopped run goes on with those that are missing, and the file is the
same.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tagsdc_jax import errors, files, settings
from tagsdc_jax.data import assembling, dataset, opening, trigrams
from tagsdc_jax.data import written_captions as written_captions_lib
from tagsdc_jax.evaluation import calibration as calibration_lib
from tagsdc_jax.evaluation import score_cache
from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.negative_files import choosing, records
from tagsdc_jax.negatives import source
from tagsdc_jax.runs import (
  blind_head,
  calibrating,
  loading,
  lock,
  reading,
  sentence_batches,
  sentence_programs,
)
from tagsdc_jax.runtime import distributed, hashing, parallel, progress
from tagsdc_jax.training import checkpoints, head_init

NEGATIVES = 'negatives.jsonl'
_PARTS, _LOCK = '.parts', '.generate.lock'
_REQUEST, _CALIBRATION = 'request.json', 'calibration.json'
_SHARD = 256
# Pairs that are read without the picture, which takes a pass per word.
_BLIND = 1000

Say = Callable[[str], Any]


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


def find_photos(config: settings.Data, split: str) -> tuple[list[str], str]:
  """Returns the path of each picture of a split, and the folder of photos.

  Paths are empty where unknown: only prepared data has any.

  Raises:
    UserError: if the data set is damaged.
  """
  from tagsdc_jax.data.prepared import dataset as prepared

  if opening.resolved_source(config) != 'prepared':
    return [], ''
  report = prepared.read_metadata(config.root).get('report') or {}
  pictures = prepared.iterate_pictures(config.root, split)
  return [picture.path for picture in pictures], report.get('photos') or ''


def generate(out: Path, request: Request, say: Say) -> Path:
  """Writes the negatives of all captions; returns the file's path.

  Args:
    out: a new folder, or one to continue. All processes share it.
    request: what to generate.
    say: called with lines on what is done.
  Raises:
    UserError: if the folder holds something else, the data does not fit the
      network, or the file system refuses.
  """
  path = out / NEGATIVES
  facts = _facts(request)
  with _held(out, facts):
    if path.is_file():
      if distributed.is_first():
        say(f'{path} is complete already')
      return path
    _write(out, request, facts, say)
  return path


def _write(
  out: Path, request: Request, facts: dict[str, Any], say: Say
) -> None:
  data = request.data
  numbers = range(len(data.captions))
  shards = [numbers[i : i + _SHARD] for i in range(0, len(numbers), _SHARD)]
  missing = [
    (place, own)
    for place, own in enumerate(shards)
    if not _part(out, place).is_file()
  ]
  own = missing[jax.process_index() :: jax.process_count()]
  if len(missing) < len(shards) and distributed.is_first():
    left = sum(len(x) for _, x in missing)
    say(
      f'continuing: {len(numbers) - left:,} of {len(numbers):,} captions are '
      'done'
    )
  maker = _Maker(out, request)
  count = sum(len(x) for _, x in own)
  with progress.progress_bar(
    count, 'generating negatives', 'captions', is_shown=distributed.is_first()
  ) as bar:
    for place, part in own:
      made = maker.make(part, bar.update)
      lines = b''.join(map(records.to_line, made))
      files.write_bytes(_part(out, place), lines)
  # All processes have written their shards once this is known.
  distributed.total(0)
  distributed.on_first(lambda: _finish(out, request, facts, len(shards)))


def _finish(
  out: Path, request: Request, facts: dict[str, Any], num_shards: int
) -> None:
  """Joins the shards, with a header that counts them."""
  card = cards.Card()
  with progress.progress_bar(
    len(request.data.captions), 'counting negatives', 'captions'
  ) as bar:
    for place in range(num_shards):
      with open(_part(out, place), 'rb') as file:
        for line in file:
          card.add(records.from_line(line))
          bar.update(1)
  counted = card.finish(_blind_head(request, card), _BLIND)
  header = {
    **facts,
    'calibration': _calibration(out),
    'counts': {
      **{x: counted[x] for x in ('captions', 'negatives', 'without')},
      'kinds': {kind: one['count'] for kind, one in counted['kinds'].items()},
      'dropped': counted['dropped'],
    },
    'card': counted,
  }

  def join(target: Any) -> None:
    target.write(records.header_line(header))
    for place in range(num_shards):
      with open(_part(out, place), 'rb') as file:
        shutil.copyfileobj(file, target)

  files.write_whole(out / NEGATIVES, join)
  shutil.rmtree(out / _PARTS, ignore_errors=True)


def _blind_head(request: Request, card: cards.Card) -> dict[str, float] | None:
  """Returns how often the language head prefers captions, see `blind_head`."""
  sample = card.sample(_BLIND)
  if not sample:
    return None
  devices = parallel.local_devices(request.config.num_devices)
  config, params = _open(request.matcher, request.config, request.data)
  with progress.waiting('reading negatives without their pictures'):
    return blind_head.Reader(
      config,
      parallel.replicate(params, devices),
      request.data.vocabulary,
      devices,
    ).accuracy(*zip(*sample, strict=True))


class _Maker:
  """Makes the records of captions."""

  def __init__(self, out: Path, request: Request) -> None:
    self._request = request
    self._devices = parallel.local_devices(request.config.num_devices)
    data, config = request.data, request.config
    limits = request.limits
    is_judged = limits.max_probability is not None
    language, lowest = None, None
    if request.fluency:
      language, lowest = _language(config, request.fluency)
    self._chooser = choosing.Chooser(
      dataclasses.replace(limits, min_fluency=lowest), data.vocabulary, language
    )
    held_out = None
    shapes = assembling.shapes_of(data)
    if is_judged:
      held_out = opening.open_split(
        config.data, 'validation', config.extensions
      )
      dataset.check_same_vocabulary(held_out, data)
      shapes = _widest(shapes, assembling.shapes_of(held_out))
    network = self._network(request.matcher)
    self._matcher = self._programs(network, shapes, request)
    self._scorers = [self._matcher]
    if is_judged and request.judge is not None:
      judge = self._network(request.judge)
      self._scorers.append(self._programs(judge, shapes, request))
    one = sentence_batches.Batches(data, shapes, 1, self._devices[:1])
    batch = jax.tree.map(lambda x: x[0], one.make([[0]])[1])
    positives = sentence_batches.positives_of(
      self._matcher.num_sentences(batch)
    )
    self._batches = sentence_batches.Batches(
      data, shapes, positives, self._devices
    )
    self._calibration: calibration_lib.Calibration | None = None
    if held_out is not None:
      self._calibration = self._calibrate(
        out, dataclasses.replace(self._batches, data=held_out)
      )
    self._reader: reading.Reader | None = None
    if request.matcher.about['phase'] == 'dc':
      self._reader = reading.Reader(
        network.config, parallel.first(network.params), data
      )

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
    words = self._words(found)
    return [self._record(one, chosen, words) for one, chosen in found]

  def _choose(
    self, one: sentence_batches.Written
  ) -> tuple[
    written_captions_lib.Written, list[choosing.Chosen], Mapping[str, int]
  ]:
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

  def _words(self, found: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yields what stage 2 says of the words of each chosen sentence."""
    pairs = [
      (
        dataset.Caption('', 0, sentence.token_ids, (), ''),
        self._request.data.captions[one.number].image,
      )
      for one, (_, chosen, _) in found
      for sentence in chosen
    ]
    if self._reader is None or not pairs:
      return iter([(None, None)] * len(pairs))
    read: Any = self._reader.read(pairs, with_words=True)
    return zip(read.replaced_probs, read.corrections, strict=True)

  def _record(
    self, one: sentence_batches.Written, found: Any, words: Iterator[Any]
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
      tuple(
        self._chooser.with_words(sentence, *next(words)) for sentence in chosen
      ),
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
    config, params = _open(loaded, config, request.data)
    start = None
    if request.start is not None and loaded is request.matcher:
      _, found = _open(request.start, config, request.data)
      start = parallel.replicate(found, self._devices)
    return sentence_programs.Network(
      config,
      parallel.replicate(params, self._devices),
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
    path = out / _PARTS / _CALIBRATION

    def calibrate() -> None:
      if not path.is_file():
        found = calibrating.calibrate(batches, self._matcher, self._scorers[-1])
        files.write_json(
          path, {'max_true': self._request.limits.max_probability, **found}
        )

    distributed.on_first(calibrate)
    return calibration_lib.Calibration(**(_calibration(out) or {})['weights'])


def _open(
  loaded: checkpoints.Loaded,
  config: settings.Settings,
  data: dataset.RetrievalDataset,
) -> tuple[settings.Settings, Any]:
  """Returns settings with the data's sizes, and parameters that match."""
  config, _ = loading.open_model(loaded, config, data)
  return config, head_init.matching_parameters(
    loading.ranking_parameters(loaded, config), loaded.about['phase']
  )


def _language(
  config: settings.Settings, share: float
) -> tuple[trigrams.Model, float]:
  """Returns a model of the training captions, and the lowest fluency.

  Args:
    config: with the data.
    share: of the words of validation captions that are less fluent.
  """
  train, held_out = (
    opening.open_split(config.data, split, config.extensions)
    for split in ('train', 'validation')
  )
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


def _facts(request: Request) -> dict[str, Any]:
  """Returns what decides the bytes that are written; a part of the header."""
  flat = settings.flatten(request.config)
  chosen = dataclasses.asdict(request.limits)
  del chosen['min_fluency']
  data = request.data
  name, _, split = data.name.rpartition('/')
  return {
    'model': _about(request.matcher),
    'judge': request.judge and _about(request.judge),
    'start': request.start and _about(request.start),
    'data': {
      'name': name,
      'split': split,
      'captions': len(data.captions),
      'pictures': len(data.image_ids),
      'photos': request.photos,
      'hash': score_cache.split_sha256(data),
    },
    'settings': {
      'sources': [one.name for one in request.sources],
      **chosen,
      'fluency': request.fluency,
      'seed': request.config.seed,
      **{
        key: value
        for key, value in flat.items()
        if key.startswith('negatives.') and key != 'negatives.sources'
      },
      'compute.dtype': flat['compute.dtype'],
      'compute.matmul_precision': flat['compute.matmul_precision'],
    },
  }


def _about(loaded: checkpoints.Loaded) -> dict[str, Any]:
  return {
    'hash': hashing.parameters_sha256(loaded.parameters),
    'phase': loaded.about['phase'],
    'update': loaded.about['update'],
  }


@contextlib.contextmanager
def _held(out: Path, facts: dict[str, Any]) -> Iterator[None]:
  """Creates and locks the folder, if it is new or holds the same request."""
  with contextlib.ExitStack() as stack:

    def hold() -> None:
      with errors.named(out):
        (out / _PARTS).mkdir(parents=True, exist_ok=True)
      remedy = 'wait for it or stop it, or pass another folder'
      stack.enter_context(lock.Lock(out / _LOCK, remedy, option='OUT').held())
      _claim(out, facts)

    distributed.on_first(hold)
    yield


def _claim(out: Path, facts: dict[str, Any]) -> None:
  """Notes what is generated, or checks that it is the same.

  Raises:
    UserError: if the folder holds something else.
  """
  now = json.loads(json.dumps(facts))
  before = _known(out)
  if before is None:
    others = sorted(
      name for name in os.listdir(out) if name not in (_PARTS, _LOCK)
    )
    if others:
      raise errors.UserError(
        f'{out} is not empty and holds no negatives, but {others[0]}; pass a '
        'new folder'
      )
    files.write_json(out / _PARTS / _REQUEST, now)
    return
  changed = [
    f'{name}: {before.get(group, {}).get(name)!r}, now {value!r}'
    for group in now
    for name, value in (now[group] or {}).items()
    if (before.get(group) or {}).get(name) != value
  ]
  if changed:
    raise errors.UserError(
      f'{out} holds negatives of another request ({"; ".join(changed[:3])}); '
      'pass a new folder, or the same arguments'
    )


def _known(out: Path) -> dict[str, Any] | None:
  """Returns the request that a folder belongs to; None if it is new."""
  if (out / NEGATIVES).is_file():
    return records.File(out / NEGATIVES).header
  try:
    return json.loads((out / _PARTS / _REQUEST).read_text('utf-8'))
  except (OSError, ValueError):
    return None


def _calibration(out: Path) -> dict[str, Any] | None:
  path = out / _PARTS / _CALIBRATION
  return json.loads(path.read_text('utf-8')) if path.is_file() else None


def _part(out: Path, place: int) -> Path:
  return out / _PARTS / f'{place:06d}.jsonl'
