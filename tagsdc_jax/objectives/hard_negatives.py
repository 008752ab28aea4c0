"""Stages 1 and 2: TAGS, and word discrimination and correction on top (DC).

A phase is a list of sources of negatives and a list of pair losses; both come
from the settings. Numbers are those of docs/method.md.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.engines import work
from tagsdc_jax.losses import total
from tagsdc_jax.losses import words as word_losses
from tagsdc_jax.negatives import candidates as candidates_of
from tagsdc_jax.negatives import mining, source
from tagsdc_jax.objectives import count_work, selected_pairs
from tagsdc_jax.objectives import parts as parts_of
from tagsdc_jax.training import step
from tagsdc_jax.training.keys import MicroBatchKeys


def loss(
  engine: engines.Engine,
  parts: parts_of.Parts,
  params: Any,
  start_params: Any,
  batch: arrays.MicroBatch,
  batch_keys: MicroBatchKeys,
) -> tuple[Float[Array, ''], tuple[step.Metrics, work.Work]]:
  """Returns the loss of a micro-batch, its metrics, and the work it took.

  Args:
    engine: runs the network.
    parts: sources, pair losses, and their weights.
    params: parameters.
    start_params: those that the phase began with, for sources that ask.
    batch: positives and their pool.
    batch_keys: of the micro-batch.
  """
  source_key, pair_key = jax.random.split(batch_keys.dropout)

  # 1. Candidates: retrieved images and texts, and sentences that the sources
  # write (6 to 8); what writing them trains, L_mlm (4).
  table, candidates = candidates_of.propose(
    parts.sources,
    source.Inputs(
      engine,
      params,
      start_params,
      batch,
      source.Keys(batch_keys.mask, batch_keys.refill, source_key),
    ),
  )

  # 2. The h hardest of each source, without gradient and dropout (9).
  selected = mining.hardest(engine, params, table, candidates, parts.num_hard)

  # 3. Losses of each pair: the triplet loss (10 to 12); in stage 2 word
  # discrimination and correction (13, 14).
  words = (
    mining.words_of(table, candidates, selected)
    if any(one.reads_words for one in parts.losses)
    else None
  )
  lost, outcome = selected_pairs.run(
    engine, parts, params, table, selected, words, pair_key
  )

  # 4. The weighted sum (15).
  written = {
    name: value
    for one in candidates
    if one.sentences is not None
    for name, value in one.sentences.losses.items()
  }
  lost += total.weighted_sum(
    written, dict.fromkeys(written, 1.0) | parts.weights
  )
  metrics = step.means(
    outcome.losses | written,
    **_metrics(parts.sources, candidates, selected, outcome),
  )
  return lost, (
    metrics,
    count_work.of_negatives(
      table, candidates, selected, parts.losses, outcome.values, words
    ),
  )


def _metrics(
  sources: Sequence[source.Source],
  candidates: Sequence[candidates_of.Candidates],
  selected: mining.Selected,
  outcome: selected_pairs.Outcome,
) -> step.Metrics:
  """Returns what is logged of the sentences of each source, float32 []."""
  found: step.Metrics = {}
  for i, (one, own) in enumerate(zip(sources, candidates, strict=True)):
    if own.sentences is None:
      continue
    is_below = outcome.negatives[:, i] < outcome.positive[:, None]
    filled = selected.is_filled[:, i]
    found |= {
      f'{one.name}_valid': jnp.mean(own.is_valid),
      f'{one.name}_filled': jnp.mean(filled),
      f'{one.name}_targets': jnp.mean(
        jnp.sum(own.sentences.is_target, axis=-1)
      ),
      f'{one.name}_accuracy': word_losses.masked_mean(
        is_below.astype(jnp.float32), filled, (0, 1)
      ),
    }
  return found
