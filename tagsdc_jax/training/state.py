"""The state that a run carries from update to update."""

from typing import Any

from flax import struct

from tagsdc_jax.arrays import Array


@struct.dataclass
class TrainState:
  """Parameters, optimizer state, and the number of updates done.

  `start_params` are the parameters that the phase started with, if a source of
  negatives uses them; else None.
  """

  update: Array  # int32 []
  params: Any
  optimizer: Any
  start_params: Any = None
