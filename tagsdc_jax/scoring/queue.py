"""Rows of any length, run in chunks of the narrowest width that fits."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import packing

# (width, row numbers [rows]) -> float32 [rows]. Called once per width when
# tracing; row numbers may exceed the last row by one (filling).
ScoreRows = Callable[[int, jax.Array], jax.Array]


def length_widths(lengths: np.ndarray, longest: int,
                  num_widths: int) -> tuple[int, ...]:
  """Returns ascending widths that cut the lengths into equal shares.

  Args:
    lengths: int [M], a sample of the rows' lengths.
    longest: the last width; at least the longest row that will come.
    num_widths: how many at most; fewer where quantiles coincide.
  """
  shares = np.arange(1, num_widths) / num_widths
  inner = np.quantile(lengths, shares, method='higher') if len(lengths) else []
  return tuple(sorted({int(w) for w in inner if w < longest} | {int(longest)}))


def run_queue(score_rows: ScoreRows, lengths: jax.Array, is_valid: jax.Array,
              *, widths: Sequence[int], chunk: int) -> jax.Array:
  """Scores the valid rows, each chunk at the width of its longest row.

  The rows are sorted by length, so a chunk is of one width but for a few at
  the borders; the loop ends with the last valid row.

  Args:
    score_rows: scores `chunk` rows padded to a width.
    lengths: int32 [M], at most widths[-1].
    is_valid: bool [M].
    widths: ascending, static.
    chunk: rows at once.
  Returns:
    float32 [M]; 0 where not valid.
  """
  num_rows = lengths.shape[0]
  rank = jnp.where(is_valid, lengths, 0)
  # Longest first: the first row of a chunk decides its width.
  order = jnp.argsort(-rank, stable=True).astype(jnp.int32)
  order = jnp.pad(order, (0, -num_rows % chunk), constant_values=num_rows)
  num_chunks = (jnp.sum(is_valid) + chunk - 1) // chunk
  branches = [lambda rows, w=w: score_rows(w, rows) for w in widths]
  limits = jnp.asarray(widths, jnp.int32)

  def body(i: jax.Array, scores: jax.Array) -> jax.Array:
    rows = jax.lax.dynamic_slice_in_dim(order, i * chunk, chunk)
    branch = jnp.searchsorted(limits, rank[rows[0]])
    return jax.lax.dynamic_update_slice_in_dim(
        scores, jax.lax.switch(branch, branches, rows), i * chunk, axis=0)

  packed = jax.lax.fori_loop(0, num_chunks, body,
                             jnp.zeros(order.shape, jnp.float32))
  scores = packing.put_back(packed, order, num_rows)
  return jnp.where(is_valid, scores, 0.0)
