"""What the kept negatives lose, row by row, and the parts of the loss."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax.losses import combining, ranking, words
from tagsdc_jax.training import candidates, parts, passes


@struct.dataclass
class Losses:
  """Of the kept negatives, float32, before any mean; no gradient."""
  # [B, 3, H]: the caption with hard images, hard texts with the image,
  # generated sentences with the image.
  triplets: jax.Array
  # Discrimination and correction [B, H, L] in stage 2, else nothing.
  words: tuple[jax.Array, ...] = ()


def loss_parts(losses: Losses, hardest: candidates.Hardest,
               of: parts.Words | None) -> dict[str, jax.Array]:
  """Returns means per positive, float32 [B]: linear in the losses.

  Args:
    losses: of the kept negatives.
    hardest: which of them there are.
    of: which words count, in stage 2.
  """
  images, texts, sentences = jnp.unstack(losses.triplets, axis=1)
  means = {
      'text_to_image': jnp.mean(images, axis=1),
      'image_to_text': words.masked_mean(texts, hardest.is_other, 1),
      'synthetic': words.masked_mean(sentences, hardest.is_filled, 1)}
  if of is not None:
    discrimination, correction = losses.words
    means |= parts.word_means(discrimination, correction, of)
  return means


def weights(task: passes.Task, hardest: candidates.Hardest,
            of: parts.Words | None) -> Losses:
  """Returns d loss / d losses, which is the same whatever they are.

  Args:
    task: the losses' weights.
    hardest: see `loss_parts`.
    of: as well.
  """
  num_positives, num_hard = hardest.images.shape
  triplets = jnp.zeros((num_positives, 3, num_hard))
  of_words = () if of is None else 2 * (jnp.zeros(of.token_ids.shape),)
  return jax.grad(lambda losses: combining.combine_losses(
      loss_parts(losses, hardest, of), task.settings.losses))(
          Losses(triplets, of_words))


def row_losses(task: passes.Task, heads: Any, states: jax.Array,
               positive: jax.Array, constants: Any
               ) -> tuple[jax.Array, Any]:
  """Returns what some rows add to the loss; see `gradients.RowLosses`.

  Args:
    task: network and settings.
    heads: parameters of `passes.match_probs`, and of `parts.word_losses`.
    states: float [Q, 1 or L, D].
    positive: float32 [Q], the positive's matching score.
    constants: weights of the triplets [Q]; None, or the words that are read
      and the weights of both word losses [Q, L], zeros for a retrieved pair.
  Returns:
    float32 []; and matching scores and triplet losses [Q], word losses
    [Q, L], all unweighted.
  """
  weight, of_words = constants
  probs = passes.match_probs(task, heads, states)
  triplets = ranking.triplet_loss(
      positive, probs[:, None], margin=task.settings.losses.margin)[:, 0]
  total = jnp.sum(weight * triplets)
  if of_words is None:
    return total, (probs, triplets, ())
  of, *weights = of_words
  totals, found = parts.word_losses(task, heads, states, of, weights,
                                    words.word_loss)
  return total + sum(totals), (probs, triplets, found)
