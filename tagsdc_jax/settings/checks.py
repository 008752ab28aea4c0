"""Which settings make sense."""

import dataclasses
import re
import typing
from typing import Any

from tagsdc_jax.settings.presets import IN_PLAIN_STEP, PRESETS
from tagsdc_jax.settings.schema import (ATTENTION, DTYPES, EXCLUDED, PHASES,
                                        PRECISIONS, SOURCES, Settings)

KINDS = {int: 'a whole number', float: 'a number', bool: 'true or false',
         str: 'text'}


def check_kinds(part: Any, group: str = '') -> None:
  """Raises ValueError for the first value of another kind than declared."""
  for field in dataclasses.fields(part):
    value, kind = getattr(part, field.name), field.type
    if dataclasses.is_dataclass(kind):
      check_kinds(value, f'{field.name}.')
      continue
    is_several = typing.get_origin(kind) is tuple
    one: Any = typing.get_args(kind)[0] if is_several else kind
    fitting = (int, float) if one is float else one
    for x in value if is_several and isinstance(value, tuple) else (value,):
      if not isinstance(x, fitting) or (isinstance(x, bool)
                                        and one is not bool):
        raise ValueError(f'{group}{field.name} must be {KINDS[one]}'
                         f'{", or several" if is_several else ""}, got {x!r}')


def check_values(s: Settings) -> None:
  """Raises ValueError for the first setting out of its range."""
  at_least = {
      'num_updates': (s.num_updates, 1),
      'checkpoint_every': (s.checkpoint_every, 1),
      'log_every': (s.log_every, 1),
      'batch.positives': (s.batch.positives, 1),
      'batch.micro_batches': (s.batch.micro_batches, 1),
      'negatives.num_copies': (s.negatives.num_copies, 1),
      'negatives.num_samples': (s.negatives.num_samples, 1),
      'negatives.num_hard': (s.negatives.num_hard, 1),
      'compute.target_chunk': (s.compute.target_chunk, 1),
      'compute.score_tokens': (s.compute.score_tokens, 1),
      'compute.gradient_tokens': (s.compute.gradient_tokens, 1),
      'compute.num_widths': (s.compute.num_widths, 1),
      'compute.num_gradient_widths': (s.compute.num_gradient_widths, 1),
      'model.num_layers': (s.model.num_layers, 1),
      'evaluation.tile_texts': (s.evaluation.tile_texts, 1),
      'evaluation.tile_images': (s.evaluation.tile_images, 1),
      'evaluation.num_widths': (s.evaluation.num_widths, 1),
      'data.num_threads': (s.data.num_threads, 1),
  }
  at_least |= {name: (value, 0) for name, value in {
      'num_devices': s.num_devices, 'stop_at_update': s.stop_at_update,
      'eval_every': s.eval_every, 'negatives.num_in_batch':
      s.negatives.num_in_batch, 'data.num_prefetched': s.data.num_prefetched,
      'compute.micro_batches_at_once': s.compute.micro_batches_at_once,
      'evaluation.validation_images': s.evaluation.validation_images}.items()}
  for name, (value, least) in at_least.items():
    if value < least:
      raise ValueError(f'{name} must be at least {least}, got {value}')
  choices = {'phase': (s.phase, PHASES), 'data.source': (s.data.source,
                                                         SOURCES),
             'compute.dtype': (s.compute.dtype, DTYPES),
             'compute.matmul_precision': (s.compute.matmul_precision,
                                          PRECISIONS),
             'compute.attention': (s.compute.attention, ATTENTION),
             'negatives.exclude': (s.negatives.exclude, EXCLUDED),
             'preset': (s.preset, tuple(PRESETS))}
  for name, (word, allowed) in choices.items():
    if word not in allowed:
      raise ValueError(f'{name} must be one of {", ".join(allowed)}, '
                       f'got {word!r}')
  if s.compute.attention == 'cudnn' and s.compute.dtype != 'bfloat16':
    raise ValueError('compute.attention=cudnn needs compute.dtype=bfloat16, '
                     f'got {s.compute.dtype}')
  if s.model.hidden_size % s.model.num_heads:
    raise ValueError('model.hidden_size must be divisible by model.num_heads '
                     f'= {s.model.num_heads}, got {s.model.hidden_size}')
  for name, share in (('negatives.mask_rate', s.negatives.mask_rate),
                      ('model.dropout_rate', s.model.dropout_rate)):
    if not 0 <= share < 1:
      raise ValueError(f'{name} must be at least 0 and below 1, got {share}')
  if not s.negatives.temperature > 0:
    raise ValueError('negatives.temperature must be positive, '
                     f'got {s.negatives.temperature}')
  if not 0 < s.optimizer.warmup_updates < s.num_updates:
    raise ValueError('optimizer.warmup_updates must lie between 1 and '
                     f'num_updates - 1 = {s.num_updates - 1}, '
                     f'got {s.optimizer.warmup_updates}')
  for name in ('stop_seconds', 'hang_seconds'):
    if not (seconds := getattr(s, name)) >= 0:
      raise ValueError(f'{name} must be at least 0, got {seconds}')
  profiled_updates(s.profile)
  _check_quirks(s)
  n = s.negatives
  if s.phase == 'pretrain':
    if not n.num_in_batch < s.batch.positives:
      raise ValueError('negatives.num_in_batch must be below '
                       f'batch.positives = {s.batch.positives}, '
                       f'got {n.num_in_batch}')
  else:
    if n.pool_size < n.num_hard:
      raise ValueError('negatives.pool_size must be at least '
                       f'negatives.num_hard = {n.num_hard}, got {n.pool_size}')
    if n.num_copies * n.num_samples < n.num_hard:
      raise ValueError('negatives.num_copies x num_samples must be at least '
                       f'negatives.num_hard = {n.num_hard}, got '
                       f'{n.num_copies * n.num_samples}')


def profiled_updates(text: str) -> tuple[int, int]:
  """Returns first and last update of "10-12" or "10"; (0, 0) of "".

  Raises:
    ValueError: if it is something else.
  """
  if not text:
    return 0, 0
  match = re.fullmatch(r'(\d+)(?:-(\d+))?', text)
  first = int(match[1]) if match else 0
  last = int(match[2] or first) if match else 0
  if not 1 <= first <= last:
    raise ValueError('profile must be updates as in 10-12, counted from 1, '
                     f'got {text!r}')
  return first, last


def _check_quirks(s: Settings) -> None:
  """Raises ValueError for quirks that cannot be had together."""
  q = s.quirks
  needing = [name for name in IN_PLAIN_STEP if getattr(q, name)]
  if needing and not q.plain_step:
    raise ValueError(f'quirks.{needing[0]} needs quirks.plain_step=true')
  if s.preset == 'as_released' and not q.plain_step:
    raise ValueError('preset as_released needs quirks.plain_step=true; in a '
                     'config file call settings.apply_preset(config, '
                     '"as_released")')
  if q.plain_step and s.phase != 'pretrain' and s.batch.positives != 1:
    raise ValueError('quirks.plain_step takes one positive at a time: set '
                     'batch.positives to 1 and batch.micro_batches to '
                     f'{s.batch.positives * s.batch.micro_batches}')
