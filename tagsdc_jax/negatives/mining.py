"""Mining: scores all candidates and selects the hardest of each source.

The hardest candidates are those with the highest matching scores.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int

from tagsdc_jax import arrays, settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.losses import pair_losses
from tagsdc_jax.negatives import candidates as candidates_of


@struct.dataclass
class Selected:
  """The selected hard negatives of each source, hardest first."""

  indices: Int[Array, 'B sources H']  # Among the source's candidates.
  text_rows: Int[Array, 'B sources H']  # Rows of the table.
  image_rows: Int[Array, 'B sources H']
  # Whether there is such a negative: a source may have fewer than H valid
  # candidates.
  is_filled: Bool[Array, 'B sources H']
  logits: Float[Array, 'B sources H']  # Matching scores without dropout.


def select_hardest(
  match_logits: Float[Array, 'B candidates'],
  is_valid: Bool[Array, 'B candidates'],
  num_hard: int,
) -> tuple[Int[Array, 'B H'], Bool[Array, 'B H']]:
  """Returns the valid candidates with the highest matching scores.

  Args:
    match_logits: matching scores.
    is_valid: which candidates may be selected.
    num_hard: H, at most the number of candidates.
  Returns:
    Indices of candidates, hardest first, and is_filled, whether there is such a
    negative: False in the last places if fewer than H candidates are valid.
  """
  masked = jnp.where(is_valid, match_logits, -jnp.inf)
  _, indices = jax.lax.top_k(masked, num_hard)
  return indices, jnp.take_along_axis(is_valid, indices, axis=1)


def hardest(
  engine: engines.Engine,
  params: Any,
  table: candidates_of.Table,
  candidates: Sequence[candidates_of.Candidates],
  num_hard: Sequence[int],
) -> Selected:
  """Returns the hardest candidates of each source.

  Candidates of all sources are scored together, without dropout or gradient.
  Each text and image is embedded once and shared by all pairs that contain it.

  Args:
    engine: runs the network.
    params: parameters; no gradient flows to them.
    table: texts and images.
    candidates: those of each source; invalid ones are not scored.
    num_hard: h of each source; H is the largest.
  """
  params = jax.lax.stop_gradient(params)
  flat = lambda arrays: jnp.concatenate([x.reshape(-1) for x in arrays])
  logits = engine.score(
    params,
    engine.embed_text(params, table.texts),
    engine.embed_image(params, table.images),
    flat([c.text_rows for c in candidates]),
    flat([c.image_rows for c in candidates]),
    flat([scored(c) for c in candidates]),
  )
  sizes = [c.is_valid.size for c in candidates]
  ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
  selected = [
    _select(c, scores.reshape(c.is_valid.shape), number, max(num_hard))
    for c, scores, number in zip(
      candidates, jnp.split(logits, ends), num_hard, strict=True
    )
  ]
  return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *selected)


def scored(candidates: candidates_of.Candidates) -> Bool[Array, 'B candidates']:
  """Returns which candidates are scored: the valid ones, equal ones once."""
  same_as = candidates.same_as
  if same_as is None:
    return candidates.is_valid
  return candidates.is_valid & (same_as == jnp.arange(len(same_as)))[None]


def words_of(
  table: candidates_of.Table,
  candidates: Sequence[candidates_of.Candidates],
  selected: Selected,
) -> pair_losses.Words:
  """Returns the words of the selected sentences, [B, sources, H, L].

  All entries of sources that retrieve are 0.
  """
  token_ids = table.texts.token_ids[selected.text_rows]
  is_token = arrays.length_mask(
    table.texts.num_tokens[selected.text_rows], token_ids.shape[-1]
  )
  found = []
  for number, one in enumerate(candidates):
    ids, filled = token_ids[:, number], selected.is_filled[:, number, :, None]
    none = jnp.zeros(ids.shape, bool)
    if one.sentences is None:
      found.append(
        pair_losses.Words(jnp.zeros_like(ids), jnp.zeros_like(ids), none, none)
      )
      continue
    take = lambda rows, i=selected.indices[:, number]: jnp.take_along_axis(
      rows, i[..., None], axis=1
    )
    found.append(
      pair_losses.Words(
        ids,
        take(one.sentences.originals),
        is_token[:, number] & filled,
        take(one.sentences.is_target) & filled,
      )
    )
  return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *found)


def num_hard_of(config: settings.Negatives) -> tuple[int, ...]:
  """Returns h of each source."""
  return config.num_hard_by_source or (config.num_hard,) * len(config.sources)


def _select(
  one: candidates_of.Candidates,
  logits: Float[Array, 'B candidates'],
  number: int,
  num_hard: int,
) -> Selected:
  """Returns a source's hardest candidates, [B, H], of which h are filled."""
  if one.same_as is not None:
    logits = logits[:, one.same_as]
  # A source may propose fewer than H: the rest repeats the last candidate,
  # marked invalid.
  missing = max(0, num_hard - one.is_valid.shape[1])
  is_valid, logits = (
    jnp.pad(x, ((0, 0), (0, missing))) for x in (one.is_valid, logits)
  )
  indices, is_filled = select_hardest(logits, is_valid, num_hard)
  if number < num_hard:
    is_filled &= (jnp.arange(num_hard) < number)[None]
  if missing:
    indices = jnp.minimum(indices, one.is_valid.shape[1] - 1)
  take = lambda x: jnp.take_along_axis(x, indices, axis=1)
  return Selected(
    indices, take(one.text_rows), take(one.image_rows), is_filled, take(logits)
  )
