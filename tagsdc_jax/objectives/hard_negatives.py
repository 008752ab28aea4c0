"""The loss of stages 1 (TAGS) and 2 (DC: word discrimination and correction).

A phase is a list of sources of negatives and a list of pair losses, both from
the settings. Numbers in parentheses are equations in docs/method.md.
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
  """Returns the loss of a micro-batch, its metrics, and the work it needs.

  Args:
    engine: runs the network.
    parts: sources, pair losses, and their weights.
    params: parameters.
    start_params: parameters at the start of the phase, if a source needs them.
    batch: positives and their pool.
    batch_keys: PRNG keys of the micro-batch.
  """
  source_key, pair_key = jax.random.split(batch_keys.dropout)

  # 1. Candidates: retrieved images and texts, and generated sentences (6 to 8).
  # Generating the sentences also yields L_mlm (4).
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

  # 2. The h hardest candidates of each source, without gradient or dropout (9).
  selected = mining.hardest(engine, params, table, candidates, parts.num_hard)

  # 3. Per-pair losses of the selected negatives: triplet (10 to 12); in stage 2
  # also word discrimination and correction (13, 14).
  words = (
    mining.words_of(table, candidates, selected)
    if any(pair_loss.reads_words for pair_loss in parts.losses)
    else None
  )
  pair_total, outcome = selected_pairs.run(
    engine, parts, params, table, selected, words, pair_key
  )

  # 4. The weighted sum of all losses (15).
  generation = {
    name: value
    for one in candidates
    if one.sentences is not None
    for name, value in one.sentences.losses.items()
  }
  weighted_sum = pair_total + total.weighted_sum(
    generation, dict.fromkeys(generation, 1.0) | parts.weights
  )
  metrics = step.means(
    outcome.losses | generation,
    **_metrics(parts.sources, candidates, selected, outcome),
  )
  return weighted_sum, (
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
  """Returns metrics of each source's generated sentences, float32 []."""
  metrics: step.Metrics = {}
  for i, (one, proposed) in enumerate(zip(sources, candidates, strict=True)):
    if proposed.sentences is None:
      continue
    is_below = outcome.negatives[:, i] < outcome.positive[:, None]
    filled = selected.is_filled[:, i]
    metrics |= {
      f'{one.name}_valid': jnp.mean(proposed.is_valid),
      f'{one.name}_filled': jnp.mean(filled),
      f'{one.name}_targets': jnp.mean(
        jnp.sum(proposed.sentences.is_target, axis=-1)
      ),
      f'{one.name}_accuracy': word_losses.masked_mean(
        is_below.astype(jnp.float32), filled, (0, 1)
      ),
    }
  return metrics
