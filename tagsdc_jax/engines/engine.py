"""What runs the network on pairs: the interface of both engines.

An engine embeds texts and images, scores pairs without gradient and dropout,
and takes losses of pairs with both. `packed` runs real tokens only, in chunks,
each forward and backward at once; `padded` is plain autodiff. Both draw the
same dropout, so that they give the same losses and gradients.
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

# (heads, states, inputs [rows, ...], constants [rows, ...]) -> (what the rows
# lose together, values [rows, ...])
RowLosses = Callable[
  [Any, Float[Array, 'rows num_outputs D'], Any, Any],
  tuple[Float[Array, ''], Any],
]
# (head, hidden states, constants [positions, ...]) -> (what they lose
# together, values [positions, ...])
PositionLosses = Callable[
  [Any, Float[Array, 'positions D'], Any], tuple[Float[Array, ''], Any]
]


@dataclasses.dataclass(frozen=True)
class Task:
  """What is fixed while a run lasts."""

  model: retrieval.RetrievalModel
  settings: settings.Settings
  mask_id: int
  random_range: tuple[int, int]  # Of random replacement tokens.
  # Length buckets of pairs that are scored, and of pairs that are run with
  # gradient; () for one bucket, the padded length.
  score_buckets: tuple[int, ...]
  gradient_buckets: tuple[int, ...] = ()


@struct.dataclass
class Embedded:
  """First-layer embeddings of texts or of images."""

  states: Float[Array, 'rows length D']  # length: L or R.
  lengths: Int[Array, 'rows']  # How many are real; these come first.


@struct.dataclass
class Rows:
  """Pairs of a text and an image, and what their losses depend on."""

  text_rows: Int[Array, 'rows']  # Which text each pair takes.
  image_rows: Int[Array, 'rows']  # Which image.
  is_needed: Bool[Array, 'rows']  # The others cost nothing, lose nothing.
  # Pairs whose loss is probably not 0. They come first, so that many chunks
  # need no backward pass. No result depends on it.
  is_likely: Bool[Array, 'rows']
  inputs: Any  # Floats [rows, ...], with gradient.
  constants: Any  # [rows, ...], without; zeros say that a row loses nothing.
  # Pairs of which more than the first state is read; None: all. Of the others
  # the last layer may be computed for the first token only.
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
    """Returns embedded texts [rows, L]; with dropout if a key is given."""
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
    """Returns embedded images [rows, R]; with dropout if a key is given."""
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
    """Returns the states of few pairs, row by row, all padded alike.

    Args:
      params: parameters; get a gradient.
      texts: one per pair.
      images: one per pair.
      num_outputs: how many leading states are wanted, [CLS] first.
      dropout_key: used once, or None for no dropout.
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
    """Returns what a head says: 'match_logits', 'disc_logits' and the like."""
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
      text_rows: which text each pair takes.
      image_rows: which image.
      is_needed: the others score 0.
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
    """Runs the encoder on pairs, with dropout, and adds up what they lose.

    A row's dropout is a function of its number, whatever the engine.

    Args:
      row_losses: what rows lose, and whatever else is wanted of them. Must
        close over nothing traced. See `packed` for what it asks beyond.
      params: parameters; the encoder's get a gradient.
      heads: parameters that `row_losses` takes, and no more.
      texts: embedded texts; their states get a gradient.
      images: embedded images; as well.
      rows: the pairs.
      dropout_key: used once.
      num_outputs: how many leading states are wanted, of text then regions;
        beyond a row's length, and where not read, they may be anything finite.
    Returns:
      The sum, float32, with gradient; values [rows, ...], without, zeros at
      rows that are not needed.
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
    """Adds up what target positions lose, for vocabulary-wide heads.

    Args:
      losses: what some positions lose together; must lose nothing where the
        constants are 0, and close over nothing traced.
      head: its parameters, and no more.
      states: with gradient.
      constants: [positions, ...], without.
      is_target: which positions count.
    Returns:
      The sum, float32, with gradient; values [positions, ...], without, zeros
      where no target.
    """
