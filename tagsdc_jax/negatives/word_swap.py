"""Sentences in which two phrases of a kind have changed places."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Int8

from tagsdc_jax.arrays import Array
from tagsdc_jax.negatives import source


def word_swap(inputs: source.Inputs) -> source.Sentences:
  """Returns up to `negatives.num_swaps` sentences per caption.

  Two objects, two attributes or two relations of the caption change places,
  from its phrases alone: "a red ball and a blue cube" gives "a blue ball and a
  red cube". Pairs are drawn without replacement. Phrases must be unbroken and
  must not overlap.
  """
  batch = inputs.batch
  # A pair at least, so that there is something to choose from.
  missing = max(0, 2 - batch.phrase_kinds.shape[1])
  kinds = jnp.pad(batch.phrase_kinds, ((0, 0), (0, missing)))
  starts, ends, is_whole = spans(
    jnp.pad(batch.phrase_counts, ((0, 0), (0, missing), (0, 0)))
  )
  num_phrases = kinds.shape[1]
  first, second = jnp.triu_indices(num_phrases, 1)
  # Of two phrases the one further left comes first.
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
  """Returns where phrases start and end, and which are unbroken.

  Args:
    phrase_counts: see data/phrases.py.
  Returns:
    The first token; behind the last one; False also for rows that are no
    phrase.
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
  """Returns captions with [start, end) and [later, last) exchanged.

  Args:
    token_ids: of the captions.
    num_tokens: [CLS] and [SEP] included.
    start: where the first phrase starts.
    end: behind it.
    later: where the second one starts.
    last: behind it.
    is_valid: which sentences there are.
  """
  place = jnp.arange(token_ids.shape[1], dtype=jnp.int32)[None, None]
  # Where the first phrase now starts: what is between moves by the
  # difference of their lengths.
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
  # Word by word, what had stood at the head of the exchanged phrases.
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
