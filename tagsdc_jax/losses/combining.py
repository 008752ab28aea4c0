"""The weighted sum. The only place that knows the losses' weights."""

import jax
import jax.numpy as jnp

from tagsdc_jax import settings


def combine_losses(parts: dict[str, jax.Array],
                   config: settings.Losses) -> jax.Array:
  """Returns the total, float32 [].

  Args:
    parts: name -> loss per positive, float32 [B], or their mean, [].
      `text_to_image` (L_t), `image_to_text` (L_i) and `matching` weigh 1,
      `synthetic`, `mlm`, `discrimination` and `correction` as the settings
      say.
    config: the weights.
  """
  weights = {
      'text_to_image': 1.0, 'image_to_text': 1.0, 'matching': 1.0,
      'synthetic': config.synthetic, 'mlm': config.mlm,
      'discrimination': config.discrimination,
      'correction': config.correction,
  }
  return sum((weights[name] * jnp.mean(loss) for name, loss in parts.items()),
             start=jnp.float32(0))
