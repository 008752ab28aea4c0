"""Checks of settings: each value by itself, and all values together."""

from typing import Any

from tagsdc_jax.settings import kinds
from tagsdc_jax.settings.presets import IN_PLAIN_STEP
from tagsdc_jax.settings.schema import ALL, Settings

_MOST_INT32 = 2**31 - 1


def check_value(name: str, value: Any) -> Any:
  """Returns the value of a setting as a plain Python object.

  Raises:
    ValueError: if it is not of the setting's kind and range.
  """
  return kinds.taken(name, ALL[name].kind, value)


def parse_value(name: str, text: str) -> Any:
  """Returns the value that a string from the command line stands for.

  Raises:
    ValueError: as `check_value`.
  """
  return kinds.parsed(name, ALL[name].kind, text)


def check_together(s: Settings) -> None:
  """Raises ValueError for settings that contradict each other.

  Args:
    s: settings, each within its own range.
  """
  if s.compute.attention == 'cudnn' and s.compute.dtype != 'bfloat16':
    raise ValueError(
      'compute.attention=cudnn needs compute.dtype=bfloat16, '
      f'got {s.compute.dtype}'
    )
  if s.model.hidden_size % s.model.num_heads:
    raise ValueError(
      'model.hidden_size must be divisible by model.num_heads '
      f'= {s.model.num_heads}, got {s.model.hidden_size}'
    )
  if s.data.min_regions > s.data.max_regions:
    raise ValueError(
      'data.min_regions must be at most data.max_regions = '
      f'{s.data.max_regions}, got {s.data.min_regions}'
    )
  _check_optimizer(s)
  _check_counts(s)
  _check_quirks(s)


def without_effect(s: Settings) -> list[str]:
  """Returns a warning for each setting that names an update after the end."""
  last = min(s.stop_at_update or s.num_updates, s.num_updates)
  lines = []
  if s.stop_at_update > s.num_updates:
    lines.append(
      f'stop_at_update = {s.stop_at_update} is beyond num_updates '
      f'= {s.num_updates}: the run ends there'
    )
  beyond = [x for x in s.keep_at_updates if x > s.num_updates]
  if beyond:
    lines.append(
      f'keep_at_updates = {beyond[0]} is beyond num_updates = '
      f'{s.num_updates}: nothing will be kept there'
    )
  if kinds.profiled_updates(s.profile)[1] > last:
    lines.append(
      f'profile = {s.profile} is beyond update {last}, the last '
      'one: nothing will be traced after it'
    )
  return lines


def _check_optimizer(s: Settings) -> None:
  o = s.optimizer
  if o.warmup_updates >= s.num_updates:
    raise ValueError(
      'optimizer.warmup_updates must be below num_updates = '
      f'{s.num_updates}, got {o.warmup_updates}'
    )
  if o.least_rate > o.learning_rate:
    raise ValueError(
      'optimizer.least_rate must be at most optimizer.'
      f'learning_rate = {o.learning_rate:g}, got '
      f'{o.least_rate:g}'
    )
  if o.learning_rate * o.weight_decay >= 1:
    raise ValueError(
      'optimizer.weight_decay must be below 1 / optimizer.learning_rate = '
      f'{1 / o.learning_rate:g}, got {o.weight_decay:g}: one update would '
      'decay every weight to 0 or beyond'
    )


def _check_counts(s: Settings) -> None:
  n, b = s.negatives, s.batch
  if s.num_updates * b.micro_batches > _MOST_INT32:
    raise ValueError(
      'num_updates x batch.micro_batches must be at most '
      f'{_MOST_INT32}, got {s.num_updates} x {b.micro_batches}'
    )
  if s.phase == 'pretrain':
    if not n.num_in_batch < b.positives:
      raise ValueError(
        'negatives.num_in_batch must be below '
        f'batch.positives = {b.positives}, '
        f'got {n.num_in_batch}'
      )
    if not (n.num_in_batch or s.losses.mlm or s.losses.alignment):
      raise ValueError(
        'pretraining needs a loss, got negatives.num_in_batch, losses.mlm and '
        'losses.alignment of 0'
      )
    if n.similar_in_batch and not s.losses.alignment:
      raise ValueError(
        'negatives.similar_in_batch needs losses.alignment above 0, which '
        'makes captions similar to their images'
      )
    return
  _check_sources(s)


def _check_sources(s: Settings) -> None:
  n = s.negatives
  if not n.sources:
    raise ValueError('negatives.sources must name at least one source')
  for name, values in (
    ('negatives.num_hard_by_source', n.num_hard_by_source),
    ('losses.weight_by_source', s.losses.weight_by_source),
  ):
    if len(values) not in (0, len(n.sources)):
      raise ValueError(
        f'{name} must be empty or have one number per source, '
        f'{len(n.sources)} for {", ".join(n.sources)}; got {len(values)}'
      )
  counts = dict.fromkeys(
    ('images', 'texts'), ('negatives.pool_size', n.pool_size)
  ) | dict.fromkeys(
    ('mask_refill', 'static_refill'),
    (
      'negatives.num_copies x negatives.num_samples',
      n.num_copies * n.num_samples,
    ),
  )
  hard = n.num_hard_by_source or (n.num_hard,) * len(n.sources)
  wanted = (
    'negatives.num_hard_by_source'
    if n.num_hard_by_source
    else 'negatives.num_hard'
  )
  for source, number in zip(n.sources, hard, strict=True):
    name, count = counts.get(source, ('', number))
    if count < number:
      raise ValueError(
        f'{name} must be at least {wanted} = {number}, got {count}'
      )


def _check_quirks(s: Settings) -> None:
  """Raises ValueError for quirks that contradict other settings."""
  q = s.quirks
  needing = [name for name in IN_PLAIN_STEP if getattr(q, name)]
  if needing and not q.plain_step:
    raise ValueError(f'quirks.{needing[0]} needs quirks.plain_step=true')
  if s.preset == 'as_released' and not q.plain_step:
    raise ValueError(
      'preset as_released needs quirks.plain_step=true; in a '
      'config file call settings.apply_preset(config, '
      '"as_released")'
    )
  standard = Settings()
  for name, value, expected in (
    ('negatives.sources', s.negatives.sources, standard.negatives.sources),
    ('negatives.num_hard_by_source', s.negatives.num_hard_by_source, ()),
    ('negatives.unit', s.negatives.unit, standard.negatives.unit),
    ('negatives.refill_rounds', s.negatives.refill_rounds, 1),
    ('losses.pairs', s.losses.pairs, ()),
    ('losses.weight_by_source', s.losses.weight_by_source, ()),
  ):
    if q.plain_step and value != expected:
      raise ValueError(
        f'quirks.plain_step needs {name} = {kinds.shown(expected)}, '
        f'got {kinds.shown(value)}'
      )
  if q.plain_step and s.phase != 'pretrain' and s.batch.positives != 1:
    raise ValueError(
      'quirks.plain_step takes one positive per micro-batch: set '
      'batch.positives to 1 and batch.micro_batches to '
      f'{s.batch.positives * s.batch.micro_batches}'
    )
