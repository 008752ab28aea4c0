"""A logistic loss for each pair, and a contrastive loss over all pairs."""

import jax
import jax.numpy as jnp

from tagsdc_jax import settings
from tagsdc_jax.losses.pair_losses import Match, PairLoss


def logistic(config: settings.Settings) -> PairLoss:
  """log(1 + exp(negative - positive)), for each negative separately."""
  del config  # It has no hyperparameters.

  def loss(positive: Match, negative: Match) -> jax.Array:
    return jax.nn.softplus(negative.logits - positive.logits)

  return PairLoss('logistic', loss)


def contrastive(config: settings.Settings) -> PairLoss:
  """InfoNCE: the positive against all of its negatives at once."""
  del config

  def loss(
    positive: Match, negatives: Match, is_filled: jax.Array
  ) -> jax.Array:
    own = positive.logits[:, None]
    others = jnp.where(is_filled, negatives.logits, -jnp.inf)
    every = jnp.concatenate([own, others.reshape(len(own), -1)], axis=1)
    return jax.nn.logsumexp(every, axis=1) - positive.logits

  return PairLoss('contrastive', loss, weight=0.5, is_coupled=True)
