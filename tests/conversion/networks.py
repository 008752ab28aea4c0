"""A small network of the release, as its files hold it."""

import numpy as np

from tagsdc_jax.conversion import name_rules

SIZES = {
  'num_layers': 3,
  'hidden_size': 8,
  'intermediate_size': 12,
  'max_positions': 6,
  'num_token_types': 2,
  'vocab_size': 11,
  'feature_size': 5,
}


def make(phase: str, num_layers: int = 3) -> dict[str, np.ndarray]:
  """Returns random float32 weights, tied copies among them."""
  rng = np.random.default_rng(0)
  weights = {
    name: rng.normal(size=[SIZES.get(n, n) for n in parameter.shape]).astype(
      np.float32
    )
    for name, parameter in name_rules.parameters(phase, num_layers).items()
  }
  return weights | {
    name: weights[name_rules.WORDS].copy() for name in name_rules.tied(phase)
  }
