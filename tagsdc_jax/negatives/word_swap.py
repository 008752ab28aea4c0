"""A source of sentences in which two phrases of the same kind are swapped."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Int8

from tagsdc_jax.arrays import Array
from tagsdc_jax.negatives import source


def word_swap(inputs: source.Inputs) -> source.Sentences:
  """Returns up to `negatives.num_swaps` sentences per caption.

  Swaps two objects, two attributes or two relations of the caption: "a red ball
  and a blue cube" becomes "a blue ball and a red cube". Needs no network. Pairs
  of phrases are drawn without replacement; both phrases must be contiguous, and
  they must not overlap.
  """
  batch = inputs.batch
  # Pad to at least two phrases, so that there is a pair to choose from.
  missing = max(0, 2 - batch.phrase_kinds.shape[1])
  kinds = jnp.pad(batch.phrase_kinds, ((0, 0), (0, missing)))
  starts, ends, is_whole = spans(
    jnp.pad(batch.phrase_counts, ((0, 0), (0, missing), (0, 0)))
  )
  num_phrases = kinds.shape[1]
  first, second = jnp.triu_indices(num_phrases, 1)
  # Order each pair from left to right.
  is_left = starts[:, first] <= starts[:, second]
  left, right = (
    jnp.where(is_left, a, b)
    for a, b in ((first[None], second[None]), (second[None], first[None]))
  )
  of = lambda x, rows: jnp.take_along_axis(x, rows, axis=1)
  is_pair = (
    is_whole[:, first]
    & is_whole[:, second]
    & (kinds[:, first] > 0)
    & (kinds[:, first] == kinds[:, second])
    & (of(ends, left) <= of(starts, right))
  )
  tickets = jnp.where(
    is_pair, jax.random.uniform(inputs.keys.mask, is_pair.shape), -1.0
  )
  number = min(
    inputs.engine.task.settings.negatives.num_swaps, tickets.shape[1]
  )
  tickets, chosen = jax.lax.top_k(tickets, number)
  left, right = of(left, chosen), of(right, chosen)
  return _swapped(
    batch.texts.token_ids,
    batch.texts.num_tokens,
    *(of(x, rows)[..., None] for rows in (left, right) for x in (starts, ends)),
    is_valid=tickets >= 0,
  )


def spans(
  phrase_counts: Int8[Array, 'B P L'],
) -> tuple[Int[Array, 'B P'], Int[Array, 'B P'], Bool[Array, 'B P']]:
  """Returns where phrases start and end, and which are contiguous.

  Args:
    phrase_counts: see data/phrases.py.
  Returns:
    Position of the first token; of the last token, plus one; whether the phrase
    is contiguous, False for padding.
  """
  length = phrase_counts.shape[-1]
  is_in = phrase_counts > 0
  starts = jnp.argmax(is_in, axis=-1).astype(jnp.int32)
  ends = length - jnp.argmax(is_in[..., ::-1], axis=-1).astype(jnp.int32)
  counts = jnp.sum(is_in, axis=-1, dtype=jnp.int32)
  return starts, ends, (counts > 0) & (ends - starts == counts)


def _swapped(
  token_ids: Int[Array, 'B L'],
  num_tokens: Int[Array, 'B'],
  start: Int[Array, 'B candidates 1'],
  end: Int[Array, 'B candidates 1'],
  later: Int[Array, 'B candidates 1'],
  last: Int[Array, 'B candidates 1'],
  *,
  is_valid: Bool[Array, 'B candidates'],
) -> source.Sentences:
  """Returns captions with the phrases [start, end) and [later, last) swapped.

  Args:
    token_ids: the captions.
    num_tokens: including [CLS] and [SEP].
    start: start of the first phrase.
    end: end of the first phrase, exclusive.
    later: start of the second phrase.
    last: end of the second phrase, exclusive.
    is_valid: whether there is such a sentence.
  """
  place = jnp.arange(token_ids.shape[1], dtype=jnp.int32)[None, None]
  # New start of the first phrase. The words between the phrases move by the
  # difference of the phrases' lengths.
  moved = last - (end - start)
  is_first = (place >= start) & (place < start + last - later)
  is_between = (place >= start + last - later) & (place < moved)
  is_second = (place >= moved) & (place < last)
  old = jnp.where(is_first, later + place - start, place)
  old = jnp.where(is_between, place - (last - later) + (end - start), old)
  old = jnp.where(is_second, start + place - moved, old)
  take = lambda places: jnp.take_along_axis(
    jnp.broadcast_to(token_ids[:, None], places.shape), places, axis=2
  )
  new_ids = take(old)
  # Position of the original word: swapped phrases are aligned at their starts.
  before = jnp.where(
    is_first, place, jnp.where(is_second, later + place - moved, old)
  )
  has_original = (is_first & (place < end)) | (is_second & (before < last))
  is_changed = is_first | is_second
  originals = jnp.where(
    is_changed & ~has_original,
    -1,
    take(jnp.clip(before, 0, place.shape[-1] - 1)),
  )
  return source.Sentences(
    new_ids,
    jnp.broadcast_to(num_tokens[:, None], is_valid.shape),
    is_valid,
    is_changed & has_original,
    originals,
  )


WORD_SWAP = source.Source('word_swap', word_swap)
