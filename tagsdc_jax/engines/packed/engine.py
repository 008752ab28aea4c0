"""The fast engine: runs pairs in chunks of rows of similar length.

It requires more of a loss than `Engine.loss` says: the loss must be a sum over
rows of a loss that depends on that row alone, is nonnegative, and has no
gradient where it is 0. The gradient of the total with respect to each row's
loss is then known to be 1, so that a chunk runs backward right after its
forward pass, while its activations are in memory, and a chunk whose loss is 0
needs no backward pass.
"""

import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine
from tagsdc_jax.engines.packed import loss_and_grad, scoring, targets


@dataclasses.dataclass(frozen=True)
class Packed(engine.Engine):
  """Runs pairs in chunks of rows of similar length."""

  def score(
    self,
    params: Any,
    texts: engine.Embedded,
    images: engine.Embedded,
    text_rows: Int[Array, 'rows'],
    image_rows: Int[Array, 'rows'],
    is_needed: Bool[Array, 'rows'],
  ) -> Float[Array, 'rows']:
    """See `Engine.score`; pairs that are not needed have no cost."""
    return scoring.score_pairs(
      self.task.model,
      params,
      texts,
      images,
      text_rows,
      image_rows,
      is_needed,
      buckets=self.task.score_buckets,
      num_tokens=self.task.settings.compute.score_tokens,
    )

  def loss(
    self,
    row_losses: engine.RowLosses,
    params: Any,
    heads: Any,
    texts: engine.Embedded,
    images: engine.Embedded,
    rows: engine.Rows,
    dropout_key: Key[Array, ''],
    *,
    num_outputs: int,
  ) -> tuple[Float[Array, ''], Any]:
    """See `Engine.loss` and the requirements in the module docstring."""
    padded = texts.states.shape[1] + images.states.shape[1]
    return loss_and_grad.sum_losses(
      row_losses,
      self.task.model,
      params,
      heads,
      texts,
      images,
      rows,
      dropout_key,
      buckets=self.task.gradient_buckets or (padded,),
      num_tokens=self.task.settings.compute.gradient_tokens,
      num_outputs=num_outputs,
    )

  def position_losses(
    self,
    losses: engine.PositionLosses,
    head: Any,
    states: Float[Array, 'positions D'],
    constants: Any,
    is_target: Bool[Array, 'positions'],
  ) -> tuple[Float[Array, ''], Any]:
    """See `Engine.position_losses`; the head reads targets only."""
    return targets.sum_real_rows(
      losses,
      head,
      states,
      constants,
      is_target,
      self.task.settings.compute.target_chunk,
    )
