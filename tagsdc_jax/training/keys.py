"""PRNG keys: one per random draw of a micro-batch, without any state."""

from typing import NamedTuple

import jax


class MicroBatchKeys(NamedTuple):
  """PRNG keys of one micro-batch; each is used once."""

  mask: jax.Array
  refill: jax.Array
  dropout: jax.Array
  pairing: jax.Array


def micro_batch_keys(
  seed: int, update: jax.Array, micro_batch: jax.Array
) -> MicroBatchKeys:
  """Returns the PRNG keys of one micro-batch.

  They depend on the arguments only: a resumed run, or one on a different number
  of devices, draws the same.

  Args:
    seed: the run's seed.
    update: int32 [], counted from 0.
    micro_batch: int32 [], its number within the run.
  """
  key = jax.random.fold_in(jax.random.key(seed), update)
  key = jax.random.fold_in(key, micro_batch)
  return MicroBatchKeys(*jax.random.split(key, len(MicroBatchKeys._fields)))
