"""What a run carries from update to update."""

from typing import Any

from flax import struct

from tagsdc_jax.arrays import Array


@struct.dataclass
class TrainState:
  """Parameters, optimizer, and how many updates are done.

  Also the parameters that the phase began with, where a source of negatives
  takes them; else None.
  """

  update: Array  # int32 []
  params: Any
  optimizer: Any
  start_params: Any = None
