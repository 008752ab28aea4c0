"""optimizer.npz: weight decay, schedule, clipping, and updates."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from tagsdc_jax import settings
from tagsdc_jax.comparison import items
from tagsdc_jax.comparison.recordings import (
  Arrays,
  Recordings,
  clip_norm,
  without_copies,
)
from tagsdc_jax.conversion import converting
from tagsdc_jax.objectives import parts as parts_of
from tagsdc_jax.runs import setup
from tagsdc_jax.training import optimizer

FILE = 'optimizer.npz'
# Rates and norms are float32, recorded as float64; parameters are of order 1.
_RATE, _NORM, _PARAMETER = 1e-6, 1e-5, 2e-6
# The peak rate of the table is only found in its description.
_TABLE, _TABLE_RATE = (
  'lr_schedule/table',
  re.compile(r'learning_rate (\d+(?:\.\d+)?(?:e-?\d+)?)'),
)


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for the decay groups, the schedule, and each update."""
  recorded = recordings.arrays(FILE)
  options = recordings.note(FILE, 'optimizer')
  decay = max(recordings.note(FILE, 'weight_decay'))
  config = settings.Optimizer(
    learning_rate=options['learning_rate'],
    beta1=options['betas'][0],
    beta2=options['betas'][1],
    epsilon=options['eps'],
    weight_decay=decay,
    warmup_updates=options['warmup_steps'],
    clip_norm=clip_norm(options),
  )
  yield _groups(recordings, recorded)
  yield from _schedule(recordings, recorded, config, options['num_train_steps'])
  yield from _updates(recorded, config, options['num_train_steps'])


def _groups(recordings: Recordings, recorded: Arrays) -> items.Item:
  """Compares which parameters are decayed."""
  weights = _weights(recorded, 'param_0/')
  decayed = recordings.note(FILE, 'decayed')
  known = {*decayed, *recordings.note(FILE, 'not_decayed')}
  theirs = converting.to_parameters(
    {
      name: np.full(array.shape, name in decayed)
      for name, array in weights.items()
    }
  )
  ours = optimizer.decay_mask(theirs)
  wrong = [
    '/'.join(path)
    for path, marks in traverse_util.flatten_dict(theirs).items()
    if np.any(marks != traverse_util.flatten_dict(ours)[path])
  ]
  wrong += [f'{name} (in no group)' for name in weights.keys() - known]
  return items.equal(
    FILE, 'decayed, not_decayed', wrong, [], note=f'{len(weights)} parameters'
  )


def _schedule(
  recordings: Recordings,
  recorded: Arrays,
  config: settings.Optimizer,
  num_updates: int,
) -> Iterator[items.Item]:
  """Compares learning rates."""
  for name, updates in (
    ('lr_schedule/lr', 'lr_schedule/step'),
    ('lr_used', None),
  ):
    if name in recorded:
      theirs = recorded[name]
      steps = (
        np.arange(1, len(theirs) + 1) if updates is None else recorded[updates]
      )
      yield _rates(
        name, [(config, num_updates, step) for step in steps], theirs
      )
  if _TABLE in recorded:
    described = recordings.entry(FILE)['keys'].get(_TABLE, {}).get('desc', '')
    peak = _TABLE_RATE.search(described)
    rows = recorded[_TABLE]
    yield _rates(
      _TABLE,
      [
        (
          dataclasses.replace(
            config,
            warmup_updates=int(warmup),
            learning_rate=float(peak[1]) if peak else config.learning_rate,
          ),
          int(total),
          step,
        )
        for total, warmup, step, _ in rows
      ],
      rows[:, 3],
    )


def _rates(
  name: str,
  updates: list[tuple[settings.Optimizer, int, Any]],
  theirs: np.ndarray,
) -> items.Item:
  ours = [
    float(optimizer.learning_rate(config, total, jnp.int32(update)))
    for config, total, update in updates
  ]
  # As ratios, since the least rate is far below the peak.
  return items.close(
    FILE,
    name,
    np.array(ours) / theirs,
    np.ones(len(theirs)),
    atol=_RATE,
    note=f'{len(ours)} updates; ratio to the recorded rate',
  )


def _updates(
  recorded: Arrays, config: settings.Optimizer, num_updates: int
) -> Iterator[items.Item]:
  """Runs the optimizer over the recorded gradients."""
  weights = _weights(recorded, 'param_0/')
  params = converting.to_parameters(weights)
  phase = 'dc' if 'disc_output' in params else 'tags'
  parts = parts_of.of_settings(settings.Settings(phase=phase))
  tx = optimizer.make_optimizer(
    config, num_updates, setup.untrained(parts.trained_heads)
  )
  state, norms = tx.init(params), []
  for number in itertools.count(1):
    found = _weights(recorded, f'grad_{number}/')
    if not found:
      break
    # Parameters without gradient are not trained, but our trees are complete.
    grads = converting.to_parameters(
      {
        name: found.get(name, np.zeros_like(array))
        for name, array in weights.items()
      }
    )
    params, state, norm = _update(tx, grads, state, params)
    norms.append(float(norm))
    if f'param_{number}' in recorded.groups():
      yield _parameters(recorded, f'param_{number}', params)
  if 'grad_norms' in recorded:
    yield items.close(
      FILE,
      'grad_norms',
      np.array(norms),
      recorded['grad_norms'],
      rtol=_NORM,
      note='before clipping',
    )


@functools.partial(jax.jit, static_argnums=0)
def _update(
  tx: optax.GradientTransformation, grads: Any, state: Any, params: Any
) -> tuple[Any, Any, jax.Array]:
  changes, state = tx.update(grads, state, params)
  return (optax.apply_updates(params, changes), state, optax.tree.norm(grads))


def _parameters(recorded: Arrays, name: str, params: Any) -> items.Item:
  theirs = traverse_util.flatten_dict(
    converting.to_parameters(_weights(recorded, f'{name}/'))
  )
  ours = traverse_util.flatten_dict(params)
  return items.largest(
    (
      items.close(FILE, '/'.join(path), ours[path], array, atol=_PARAMETER)
      for path, array in theirs.items()
    ),
    name,
  )


def _weights(recorded: Arrays, prefix: str) -> dict[str, np.ndarray]:
  return without_copies(recorded.under(prefix), f'{FILE}: {prefix}')
