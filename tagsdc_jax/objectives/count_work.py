"""The work that the loss of each phase needs; see `engines.work`."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import work
from tagsdc_jax.losses.pair_losses import PairLoss, Words
from tagsdc_jax.negatives import candidates as candidates_of
from tagsdc_jax.negatives import mining


def of_negatives(
  table: candidates_of.Table,
  candidates: Sequence[candidates_of.Candidates],
  selected: mining.Selected,
  losses: Sequence[PairLoss],
  values: dict[str, Float[Array, 'B sources H ...']],
  words: Words | None,
) -> work.Work:
  """Returns the work of a micro-batch in stages 1 and 2.

  Args:
    table: all texts and images; the first B are the positives.
    candidates: those of each source.
    selected: the selected negatives.
    losses: the pair losses.
    values: per-pair losses by name; a pair with loss 0 has no gradient.
    words: words of the selected sentences; None if no loss reads words.
  """
  regions, filled = table.images.num_regions, selected.is_filled
  num_positives = len(filled)
  pulls_back = jnp.zeros(filled.shape, bool)
  for loss in losses:
    if not loss.reads_words:
      pulls_back |= filled & (values[loss.name] > 0)
  tokens = table.texts.num_tokens
  own = tokens[:num_positives] + regions[:num_positives]
  lengths = tokens[selected.text_rows] + regions[selected.image_rows]
  works = [work.rows(own, has_gradient=jnp.any(pulls_back, axis=(1, 2)))]
  num_embedded = jnp.sum(regions) + work.REGIONS_WITH_GRADIENT * jnp.sum(
    regions[:num_positives]
  )
  num_words = jnp.int32(0)
  for i, one in enumerate(candidates):
    works.append(
      work.rows(
        tokens[one.text_rows] + regions[one.image_rows], mining.scored(one)
      )
    )
    reads = one.sentences is not None and words is not None
    works.append(
      work.rows(
        lengths[:, i],
        filled[:, i],
        has_gradient=reads | pulls_back[:, i],
        outputs=tokens[selected.text_rows[:, i]] if reads else 1,
      )
    )
    if one.sentences is not None and one.sentences.work is not None:
      works.append(one.sentences.work)
    # Only images other than the positive's own.
    is_other = selected.image_rows[:, i] >= num_positives
    num_embedded += jnp.sum(
      regions[selected.image_rows[:, i]]
      * is_other
      * filled[:, i]
      * (1 + pulls_back[:, i])
    )
  if words is not None:
    heads = sum(loss.only_targets for loss in losses)
    num_words += work.WITH_GRADIENT * heads * jnp.sum(words.is_target)
  joined = work.join(works)
  return dataclasses.replace(
    joined,
    words=joined.words + num_words,
    regions=joined.regions + num_embedded,
  )


def of_matching(
  batch: arrays.MicroBatch,
  pairs: Int[Array, 'B images'],
  is_counted: Bool[Array, 'B images'],
) -> work.Work:
  """Returns the work of pretraining's matching, without that of the images.

  Args:
    batch: captions and images.
    pairs: row of each image that a caption is paired with.
    is_counted: which of these pairs count in the loss.
  """
  lengths = batch.texts.num_tokens[:, None] + batch.images.num_regions[pairs]
  return work.rows(lengths, is_counted, has_gradient=True)


def of_images(batch: arrays.MicroBatch) -> work.Work:
  """Returns the work of embedding the images of a micro-batch once."""
  return dataclasses.replace(
    work.rows(jnp.zeros(0, jnp.int32)),
    regions=work.REGIONS_WITH_GRADIENT * jnp.sum(batch.images.num_regions),
  )
