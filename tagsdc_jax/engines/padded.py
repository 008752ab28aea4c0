"""The simple engine: all pairs padded to one length, plain autodiff.

For losses that couple pairs, such as contrastive ones, for debugging, and as a
reference for `packed`. Memory grows with the number of pairs.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine, pair_tokens
from tagsdc_jax.engines.packed import targets
from tagsdc_jax.models import retrieval, token_layout


@dataclasses.dataclass(frozen=True)
class Padded(engine.Engine):
  """Runs all pairs at once."""

  def score(
    self,
    params: Any,
    texts: engine.Embedded,
    images: engine.Embedded,
    text_rows: Int[Array, 'rows'],
    image_rows: Int[Array, 'rows'],
    is_needed: Bool[Array, 'rows'],
  ) -> Float[Array, 'rows']:
    """See `Engine.score`."""
    texts, images = _take(texts, text_rows), _take(images, image_rows)
    states = self.encode(params, texts, images, num_outputs=1, dropout_key=None)
    return jnp.where(is_needed, self.read(params, 'match_logits', states), 0)

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
    """See `Engine.loss`; `row_losses` gets all rows at once, in order."""
    num_rows = rows.text_rows.shape[0]
    length = texts.states.shape[1] + images.states.shape[1]
    joined, mask = pair_tokens.join(
      pair_tokens.stack(texts, images),
      pair_tokens.make_pairs(texts, images, rows.text_rows, rows.image_rows),
      length,
    )
    states = retrieval.apply(
      self.task.model,
      params,
      'encode_tokens',
      joined.reshape(-1, joined.shape[-1]),
      mask.reshape(-1),
      token_layout.rectangle(num_rows, length),
      num_outputs=num_outputs,
      dropout_keys=pair_tokens.row_keys(dropout_key, num_rows),
    )
    total, values = row_losses(
      heads,
      states,
      rows.inputs,
      targets.zero_others(rows.is_needed, rows.constants),
    )
    return total, jax.lax.stop_gradient(
      targets.zero_others(rows.is_needed, values)
    )

  def position_losses(
    self,
    losses: engine.PositionLosses,
    head: Any,
    states: Float[Array, 'positions D'],
    constants: Any,
    is_target: Bool[Array, 'positions'],
  ) -> tuple[Float[Array, ''], Any]:
    """See `Engine.position_losses`; the head reads every position."""
    constants = targets.zero_others(is_target, constants)
    total, values = losses(head, states, constants)
    return total, jax.lax.stop_gradient(targets.zero_others(is_target, values))


def _take(
  embedded: engine.Embedded, rows: Int[Array, 'rows']
) -> engine.Embedded:
  return jax.tree.map(lambda x: x[rows], embedded)
