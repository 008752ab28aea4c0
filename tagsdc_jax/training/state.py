"""What a run carries from update to update."""

from typing import Any

from flax import struct

from tagsdc_jax.arrays import Array


@struct.dataclass
class TrainState:
  """Parameters, optimiser, and how many updates are done."""
  update: Array  # int32 []
  params: Any
  optimizer: Any
