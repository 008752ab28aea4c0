"""The interface of engines, which run the network on pairs of text and image.

An engine embeds texts and images, scores pairs without gradient or dropout, and
computes losses of pairs with both. `packed` skips most padding and runs chunks
of rows, the forward and backward pass of each chunk together; `padded` is plain
autodiff. Both use the same dropout masks and return the same losses and
gradients.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import arrays, settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.models import retrieval

# (heads, states, inputs [rows, ...], constants [rows, ...]) -> (sum of losses,
# values [rows, ...])
RowLosses = Callable[
  [Any, Float[Array, 'rows num_outputs D'], Any, Any],
  tuple[Float[Array, ''], Any],
]
# (head, hidden states, constants [positions, ...]) -> (sum of losses, values
# [positions, ...])
PositionLosses = Callable[
  [Any, Float[Array, 'positions D'], Any], tuple[Float[Array, ''], Any]
]


@dataclasses.dataclass(frozen=True)
class Task:
  """Everything that is constant during a run."""

  model: retrieval.RetrievalModel
  settings: settings.Settings
  mask_id: int
  random_range: tuple[int, int]  # Ids of random replacement tokens.
  # Length buckets for scoring and for passes with gradient; (): one bucket, the
  # padded length.
  score_buckets: tuple[int, ...]
  gradient_buckets: tuple[int, ...] = ()


@struct.dataclass
class Embedded:
  """First-layer embeddings of texts or of images."""

  states: Float[Array, 'rows length D']  # length: L or R.
  lengths: Int[
    Array, 'rows'
  ]  # Number of real tokens or regions, before padding.


@struct.dataclass
class Rows:
  """Pairs of a text and an image, with the other arguments of their losses."""

  text_rows: Int[Array, 'rows']  # Index of each pair's text.
  image_rows: Int[Array, 'rows']  # Index of each pair's image.
  is_needed: Bool[Array, 'rows']  # Other pairs have no cost and a loss of 0.
  # Pairs whose loss is probably not 0. They run first, so that many later
  # chunks need no backward pass. Results do not depend on this.
  is_likely: Bool[Array, 'rows']
  inputs: Any  # Floats [rows, ...], with gradient.
  constants: Any  # [rows, ...], without gradient; all zeros imply a loss of 0.
  # Pairs of which more than the first state is read; None: all. For the others,
  # an engine may compute the last layer for the first token only.
  reads_all: Bool[Array, 'rows'] | None = None


@dataclasses.dataclass(frozen=True)
class Engine(abc.ABC):
  """Runs a task's network on pairs of texts and images."""

  task: Task

  def embed_text(
    self,
    params: Any,
    texts: arrays.Texts,
    dropout_key: Key[Array, ''] | None = None,
  ) -> Embedded:
    """Returns embedded texts [rows, L], with dropout if there is a key."""
    return Embedded(
      retrieval.apply(
        self.task.model, params, 'embed_text', texts.token_ids, dropout_key
      ),
      texts.num_tokens,
    )

  def embed_image(
    self,
    params: Any,
    images: arrays.Images,
    dropout_key: Key[Array, ''] | None = None,
  ) -> Embedded:
    """Returns embedded images [rows, R], with dropout if there is a key."""
    return Embedded(
      retrieval.apply(
        self.task.model,
        params,
        'embed_image',
        images.features,
        images.boxes,
        dropout_key,
      ),
      images.num_regions,
    )

  def encode(
    self,
    params: Any,
    texts: Embedded,
    images: Embedded,
    *,
    num_outputs: int,
    dropout_key: Key[Array, ''] | None,
  ) -> Float[Array, 'rows num_outputs D']:
    """Returns last-layer states of a few pairs, all padded to one length.

    Args:
      params: parameters, with gradient.
      texts: one per pair.
      images: one per pair.
      num_outputs: number of leading states to return, [CLS] first.
      dropout_key: used once; None for no dropout.
    """
    embeddings = jnp.concatenate([texts.states, images.states], axis=1)
    mask = jnp.concatenate(
      [
        arrays.length_mask(x.lengths, x.states.shape[1])
        for x in (texts, images)
      ],
      axis=1,
    )
    return retrieval.apply(
      self.task.model,
      params,
      'encode',
      embeddings,
      mask,
      num_outputs=num_outputs,
      dropout_key=dropout_key,
    )

  def read(
    self, params: Any, head: str, states: Float[Array, '... D']
  ) -> Float[Array, '...']:
    """Returns the output of a head, such as 'match_logits' or 'disc_logits'."""
    return retrieval.apply(self.task.model, params, head, states)

  @abc.abstractmethod
  def score(
    self,
    params: Any,
    texts: Embedded,
    images: Embedded,
    text_rows: Int[Array, 'rows'],
    image_rows: Int[Array, 'rows'],
    is_needed: Bool[Array, 'rows'],
  ) -> Float[Array, 'rows']:
    """Returns the raw matching scores of pairs, float32, without dropout.

    Args:
      params: parameters.
      texts: embedded texts.
      images: embedded images.
      text_rows: index of each pair's text.
      image_rows: index of each pair's image.
      is_needed: which pairs to score; the others get 0.
    """

  @abc.abstractmethod
  def loss(
    self,
    row_losses: RowLosses,
    params: Any,
    heads: Any,
    texts: Embedded,
    images: Embedded,
    rows: Rows,
    dropout_key: Key[Array, ''],
    *,
    num_outputs: int,
  ) -> tuple[Float[Array, ''], Any]:
    """Runs the encoder on pairs, with dropout, and returns their total loss.

    A row's dropout mask depends on its index only, not on the engine.

    Args:
      row_losses: returns the losses of rows, and other values of interest. Must
        not close over traced values. `packed` has further requirements.
      params: parameters; those of the encoder get a gradient.
      heads: the parameters that `row_losses` takes, and no others.
      texts: embedded texts; their states get a gradient.
      images: embedded images; their states get a gradient.
      rows: the pairs.
      dropout_key: used once.
      num_outputs: number of leading states to pass to `row_losses`, text before
        regions; those beyond a row's length, and those that are not read, may
        have any finite values.
    Returns:
      The sum, float32, with gradient; values [rows, ...], without gradient and
      zero for rows that are not needed.
    """

  @abc.abstractmethod
  def position_losses(
    self,
    losses: PositionLosses,
    head: Any,
    states: Float[Array, 'positions D'],
    constants: Any,
    is_target: Bool[Array, 'positions'],
  ) -> tuple[Float[Array, ''], Any]:
    """Returns the total loss of target positions, for vocabulary-wide heads.

    Args:
      losses: returns the sum of the losses of positions, and other values of
        interest. Positions whose constants are 0 must have a loss of 0. Must
        not close over traced values.
      head: the parameters that `losses` takes, and no others.
      states: last-layer states, with gradient.
      constants: [positions, ...], without gradient.
      is_target: which positions count.
    Returns:
      The sum, float32, with gradient; values [positions, ...], without gradient
      and zero for other positions.
    """
