"""What a run carries from update to update."""

from typing import Any

import jax
from flax import struct


@struct.dataclass
class TrainState:
  """Parameters, optimiser, and how many updates are done."""
  update: jax.Array  # int32 []
  params: Any
  optimizer: Any
