"""The fast engine: real tokens only, in chunks.

What it asks of a loss beyond `Engine.loss`: what rows lose together is a sum
of what each loses, which depends on that row alone, is not negative, and has
no gradient where it is 0. So what a row's backward pass starts with is known
beforehand, a chunk runs forward and, while its activations are there,
backward, and a chunk that loses nothing has no backward pass.
"""

import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine
from tagsdc_jax.engines.packed import loss_and_grad, scoring, targets


@dataclasses.dataclass(frozen=True)
class Packed(engine.Engine):
  """Runs pairs in chunks of rows of like length."""

  def score(
    self,
    params: Any,
    texts: engine.Embedded,
    images: engine.Embedded,
    text_rows: Int[Array, 'rows'],
    image_rows: Int[Array, 'rows'],
    is_needed: Bool[Array, 'rows'],
  ) -> Float[Array, 'rows']:
    """See `Engine.score`; pairs that are not needed cost nothing."""
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
    """See `Engine.loss` and the head of this file."""
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
