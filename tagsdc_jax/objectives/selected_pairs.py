"""Runs positives and selected negatives with gradient and dropout: the losses.

Step 3 of `objectives.hard_negatives`: per-pair losses, their means, and the
weighted sum of the means.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.losses import pair_losses, total
from tagsdc_jax.losses.pair_losses import Match, PairLoss, Words
from tagsdc_jax.models import heads as heads_of
from tagsdc_jax.negatives import candidates, masked_words, mining, source
from tagsdc_jax.objectives.parts import Parts


@struct.dataclass
class Outcome:
  """Probabilities and losses of the selected negatives; no gradient."""

  positive: Float[Array, 'B']  # Matching probabilities.
  negatives: Float[Array, 'B sources H']  # Matching probabilities.
  # Per-pair losses by name; [B, sources, H, L] if the loss reads words.
  values: dict[str, Float[Array, 'B sources H ...']]
  losses: dict[str, Float[Array, 'B']]  # Means, by loss and source.


def run(
  engine: engines.Engine,
  parts: Parts,
  params: Any,
  table: candidates.Table,
  selected: mining.Selected,
  words: Words | None,
  dropout_key: Key[Array, ''],
) -> tuple[Float[Array, ''], Outcome]:
  """Returns the weighted sum of the selected negatives' losses.

  Each text and image is embedded once, with one dropout draw, and shared by all
  pairs that contain it. The positives run first: every loss needs their scores.

  Args:
    engine: runs the network.
    parts: sources, pair losses, and the weights of `Outcome.losses`.
    params: parameters.
    table: texts and images.
    selected: the selected negatives, as rows of the table.
    words: words of the selected sentences; None if no loss reads words.
    dropout_key: used once.
  Returns:
    The weighted sum of the means, with gradient, and the `Outcome`.
  """
  sources, losses, weights = parts.sources, parts.losses, parts.weights
  text_key, image_key, own_key, pair_key = jax.random.split(dropout_key, 4)
  own_texts, own_images, text_rows, image_rows = _gather(
    table, selected, sources
  )
  texts = engine.embed_text(params, own_texts, text_key)
  images = engine.embed_image(params, own_images, image_key)
  num_positives = len(selected.is_filled)
  own = lambda x: x.reshape(num_positives, -1, *x.shape[1:])[:, 0]
  positive = _match(
    engine,
    params,
    engine.encode(
      params,
      jax.tree.map(own, texts),
      jax.tree.map(own, images),
      num_outputs=1,
      dropout_key=own_key,
    ),
  )

  shape = selected.is_filled.shape
  positives = jax.tree.map(
    lambda x: jnp.broadcast_to(x[:, None, None], shape), positive
  )
  means = functools.partial(_means, sources, losses, selected.is_filled, words)
  value_weights = jax.grad(
    lambda values: total.weighted_sum(means(values), weights)
  )(_zeros(losses, words, shape))
  is_likely = _is_likely(losses, positives, selected.logits)
  heads, num_outputs, reads_all = set(pair_losses.MATCH_HEADS), 1, None
  if words is not None:
    # The word losses read every generated sentence, so each has a gradient.
    writes = jnp.array([one.writes for one in sources])[None, :, None]
    is_likely |= writes
    reads_all = jnp.broadcast_to(writes, shape)
    num_outputs = table.texts.token_ids.shape[1]
  for loss in losses:
    heads |= set(loss.heads)
  flat = lambda x: x.reshape(-1, *x.shape[3:])
  rows = engines.Rows(
    *jax.tree.map(
      flat,
      (
        text_rows,
        image_rows,
        selected.is_filled,
        is_likely,
        positives,
        (value_weights, words),
        reads_all,
      ),
    )
  )
  loss_sum, (probs, values) = engine.loss(
    functools.partial(row_losses, engine, tuple(losses), shape),
    params,
    heads_of.parameters(params, sorted(heads)),
    texts,
    images,
    rows,
    pair_key,
    num_outputs=num_outputs,
  )
  probs, values = jax.tree.map(
    lambda x: x.reshape(*shape, *x.shape[1:]), (probs, values)
  )
  return loss_sum, jax.lax.stop_gradient(
    Outcome(positive.probs, probs, values, means(values))
  )


def row_losses(
  engine: engines.Engine,
  losses: Sequence[PairLoss],
  shape: tuple[int, ...],
  heads: Any,
  states: Float[Array, 'rows states D'],
  positive: Match,
  constants: Any,
) -> tuple[Float[Array, ''], Any]:
  """Returns the loss of a chunk of rows; see `engine.RowLosses`.

  Args:
    engine: runs the heads.
    losses: the pair losses of the phase.
    shape: (B, sources, H), for coupled losses, which take all rows at once.
    heads: parameters of the heads.
    states: last-layer states of [CLS], or of all words.
    positive: [rows], the match of each row's positive.
    constants: name of a loss -> weights of its values, [rows] or [rows, L];
      and words [rows, L] or None. Weights are 0 for rows that do not count.
  Returns:
    The weighted sum; and matching probabilities [rows], name of a loss ->
    unweighted values, [rows] or [rows, L].
  """
  weights, words = constants
  negative = _match(engine, heads, states)
  loss_sum, values = jnp.float32(0), {}
  for loss in losses:
    weight = weights[loss.name]
    if loss.is_coupled:
      value = _coupled(loss, shape, positive, negative, weight != 0)
    elif not loss.reads_words:
      value = loss.function(positive, negative)
    elif not loss.only_targets:
      value = loss.function(
        functools.partial(engine.read, heads),
        states,
        words.token_ids,
        words.originals,
      )
    else:
      at_targets, values[loss.name] = masked_words.at_positions(
        engine,
        functools.partial(position_losses, engine, loss),
        heads_of.parameters(heads, loss.heads),
        states,
        (words.token_ids, words.originals, weight),
        words.is_target,
      )
      loss_sum += at_targets
      continue
    loss_sum += jnp.sum(weight * value)
    values[loss.name] = value
  return loss_sum, jax.lax.stop_gradient((negative.probs, values))


def position_losses(
  engine: engines.Engine,
  loss: PairLoss,
  head: Any,
  states: Float[Array, '*words D'],
  constants: Any,
) -> tuple[Float[Array, ''], Float[Array, '*words']]:
  """Returns the loss of a chunk of words; see `engine.PositionLosses`.

  Args:
    engine: runs the head.
    loss: a loss that reads words.
    head: parameters of the head.
    states: last-layer states of the words.
    constants: word, the caption's word and weight at each position.
  Returns:
    The weighted sum, and the unweighted loss of each word.
  """
  token_ids, originals, weight = constants
  values = loss.function(
    functools.partial(engine.read, head), states, token_ids, originals
  )
  return jnp.sum(weight * values), values


def _coupled(
  loss: PairLoss,
  shape: tuple[int, ...],
  positive: Match,
  negative: Match,
  is_filled: Bool[Array, 'rows'],
) -> Float[Array, 'rows']:
  """Returns each positive's loss, divided equally among its negatives."""
  by_positive = lambda x: x.reshape(shape)
  is_filled = by_positive(is_filled)
  value = loss.function(
    jax.tree.map(lambda x: by_positive(x)[:, 0, 0], positive),
    jax.tree.map(by_positive, negative),
    is_filled,
  )
  share = is_filled / jnp.maximum(
    jnp.sum(is_filled, axis=(1, 2), keepdims=True), 1
  )
  return (value[:, None, None] * share).reshape(-1)


def _match(
  engine: engines.Engine, params: Any, states: Float[Array, 'rows states D']
) -> Match:
  """Returns scores and probabilities read off the states of [CLS]."""
  logits = engine.read(params, 'match_logits', states)
  return Match(logits, jax.nn.sigmoid(logits))


def _means(
  sources: Sequence[source.Source],
  losses: Sequence[PairLoss],
  is_filled: Bool[Array, 'B sources H'],
  words: Words | None,
  values: dict[str, Float[Array, 'B sources H ...']],
) -> dict[str, Float[Array, 'B']]:
  """Returns the mean losses of each positive; linear in the values."""
  means = {}
  for loss in losses:
    value = values[loss.name]
    if loss.is_coupled:
      means[loss.name] = jnp.sum(jnp.where(is_filled, value, 0), axis=(1, 2))
      continue
    for i, one in enumerate(sources):
      if loss.reads_words and not one.writes:
        continue
      means[f'{loss.name}_{one.name}'] = pair_losses.mean_per_positive(
        loss,
        value[:, i],
        is_filled[:, i],
        jax.tree.map(lambda x, i=i: x[:, i], words),
      )
  return means


def _zeros(
  losses: Sequence[PairLoss], words: Words | None, shape: tuple[int, ...]
) -> dict[str, Float[Array, 'B sources H ...']]:
  """Returns zeros in the shape of each loss's values."""
  return {
    loss.name: jnp.zeros(
      words.token_ids.shape if words is not None and loss.reads_words else shape
    )
    for loss in losses
  }


def _is_likely(
  losses: Sequence[PairLoss],
  positives: Match,
  logits: Float[Array, 'B sources H'],
) -> Bool[Array, 'B sources H']:
  """Returns which pairs probably have a loss, judging by mining scores."""
  negatives = Match(logits, jax.nn.sigmoid(logits))
  found = [
    loss.function(positives, negatives) > 0
    for loss in losses
    if not loss.reads_words and not loss.is_coupled
  ]
  return functools.reduce(jnp.logical_or, found, jnp.zeros(logits.shape, bool))


def _gather(
  table: candidates.Table,
  selected: mining.Selected,
  sources: Sequence[source.Source],
) -> tuple[
  arrays.Texts,
  arrays.Images,
  Int[Array, 'B sources H'],
  Int[Array, 'B sources H'],
]:
  """Returns the texts and images of the positives and selected pairs.

  For each positive its own text, followed by the H texts of each source that
  replaces the text; images likewise.

  Returns:
    Texts, images, and the row in each that every selected pair takes.
  """
  num_positives, _, num_hard = selected.text_rows.shape
  first = jnp.arange(num_positives, dtype=jnp.int32)[:, None]
  found: list[Any] = []
  for side, values, rows in (
    ('text', table.texts, selected.text_rows),
    ('image', table.images, selected.image_rows),
  ):
    used, places = [first], []
    for i, one in enumerate(sources):
      is_own = one.replaces != side
      start = 0 if is_own else 1 + num_hard * (len(used) - 1)
      places.append(
        jnp.full(num_hard, start, jnp.int32)
        if is_own
        else start + jnp.arange(num_hard, dtype=jnp.int32)
      )
      if not is_own:
        used.append(rows[:, i])
    taken = jnp.concatenate(used, axis=1)
    found.append(
      (
        jax.tree.map(lambda x, t=taken.reshape(-1): x[t], values),
        first[..., None] * taken.shape[1] + jnp.stack(places)[None],
      )
    )
  (texts, text_rows), (images, image_rows) = found
  return texts, images, text_rows, image_rows
