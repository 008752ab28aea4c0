"""Masking: chooses phrases of a caption at random and masks their tokens."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int, Int8, Key

from tagsdc_jax import arrays, settings
from tagsdc_jax.arrays import Array

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1  # The rest is unchanged.


@struct.dataclass
class MaskedText:
  """K masked copies of each caption."""

  token_ids: Int[Array, 'B K L']
  is_target: Bool[Array, 'B K L']


def phrase_probs(
  phrase_counts: Int[Array, '*rows P L'], mask_rate: float
) -> Float[Array, '*rows P']:
  """Returns each phrase's probability of being chosen, float32.

  A position that phrases list `n` times contributes mask_rate / n; a phrase's
  probability is the mean over its positions, each counted as often as the
  phrase lists it. Rows without a phrase get 0.

  Args:
    phrase_counts: how often each phrase lists each position.
    mask_rate: 0.15 in the paper.
  """
  counts = phrase_counts.astype(jnp.float32)
  per_position = jnp.sum(counts, axis=-2, keepdims=True)
  position_probs = mask_rate / jnp.maximum(per_position, 1.0)
  size = jnp.sum(counts, axis=-1)
  total = jnp.sum(counts * position_probs, axis=-1)
  return total / jnp.maximum(size, 1.0)


def units(unit: str, batch: arrays.MicroBatch) -> Int8[Array, 'B units L']:
  """Returns the units to mask as a whole, in the format of `phrase_counts`.

  Args:
    unit: 'phrase'; 'token', each word piece is a unit; 'both', phrases and
      word pieces; 'object', 'attribute' or 'relation', phrases of this kind.
    batch: captions and their phrases.
  Returns:
    P, L or P + L units per caption; those that are not used are zero.
  """
  phrase_counts, num_tokens = batch.phrase_counts, batch.texts.num_tokens
  if unit == 'phrase':
    return phrase_counts
  if unit in settings.PHRASE_KINDS:
    kind = 1 + settings.PHRASE_KINDS.index(unit)
    is_used = batch.phrase_kinds == kind
    return jnp.where(is_used[..., None], phrase_counts, jnp.int8(0))
  length = phrase_counts.shape[-1]
  place = jnp.arange(length)[None]
  is_word = (place > 0) & (place < num_tokens[:, None] - 1)
  tokens = jnp.eye(length, dtype=jnp.int8)[None] * is_word[:, None].astype(
    jnp.int8
  )
  if unit == 'token':
    return tokens
  return jnp.concatenate([phrase_counts, tokens], axis=1)


def choose_phrases(
  key: Key[Array, ''],
  phrase_counts: Int[Array, 'B P L'],
  *,
  num_copies: int,
  mask_rate: float,
) -> Bool[Array, 'B K P']:
  """Returns which phrases each copy masks.

  Phrases are chosen independently; if none is, one is chosen uniformly.

  Args:
    key: used once.
    phrase_counts: see `phrase_probs`; at least one phrase per caption.
    num_copies: K.
    mask_rate: see `phrase_probs`.
  """
  batch, num_phrases, _ = phrase_counts.shape
  choose_key, fallback_key = jax.random.split(key)
  probs = phrase_probs(phrase_counts, mask_rate)
  shape = (batch, num_copies, num_phrases)
  is_chosen = jax.random.uniform(choose_key, shape) < probs[:, None]
  exists = jnp.any(phrase_counts > 0, axis=-1)[:, None]
  ticket = jnp.where(exists, jax.random.uniform(fallback_key, shape), -1.0)
  fallback = jax.nn.one_hot(
    jnp.argmax(ticket, axis=-1), num_phrases, dtype=bool
  )
  none_chosen = ~jnp.any(is_chosen, axis=-1, keepdims=True)
  return jnp.where(none_chosen, fallback & exists, is_chosen)


def mask_tokens(
  key: Key[Array, ''],
  token_ids: Int[Array, 'B L'],
  phrase_counts: Int[Array, 'B P L'],
  *,
  num_copies: int,
  mask_rate: float,
  mask_id: int,
  random_range: tuple[int, int],
) -> MaskedText:
  """Masks the tokens of randomly chosen phrases.

  All positions of chosen phrases are targets. Of these, 80 % become [MASK],
  10 % a random token (possibly the original), and 10 % are unchanged.

  Args:
    key: used once.
    token_ids: the captions.
    phrase_counts: see `phrase_probs`; zero at [CLS], [SEP] and padding.
    num_copies: K.
    mask_rate: see `phrase_probs`.
    mask_id: token id of [MASK].
    random_range: range [low, high) of the ids of random tokens.
  Returns:
    K masked copies per caption.
  Raises:
    ValueError: if the shapes do not match.
  Reference: docs/method.md, 3; the release's data/pnsgd.py, here inside the
    compiled step.
  """
  batch, length = token_ids.shape
  arrays.check_shape('phrase_counts', phrase_counts, (batch, None, length))
  phrase_key, kind_key, token_key = jax.random.split(key, 3)
  is_chosen = choose_phrases(
    phrase_key, phrase_counts, num_copies=num_copies, mask_rate=mask_rate
  )
  listed = (phrase_counts > 0).astype(jnp.float32)
  hits = jnp.einsum(
    'bkp,bpl->bkl',
    is_chosen.astype(jnp.float32),
    listed,
    precision=jax.lax.Precision.HIGHEST,
  )
  is_target = hits > 0.5
  original = jnp.broadcast_to(token_ids[:, None], is_target.shape)
  kind = jax.random.uniform(kind_key, is_target.shape)
  random_ids = jax.random.randint(
    token_key, is_target.shape, *random_range, dtype=token_ids.dtype
  )
  replaced = jnp.where(
    kind < MASK_SHARE,
    mask_id,
    jnp.where(kind < MASK_SHARE + RANDOM_SHARE, random_ids, original),
  )
  return MaskedText(jnp.where(is_target, replaced, original), is_target)
