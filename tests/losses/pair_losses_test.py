"""The list of pair losses, and what is asked of one's own."""

import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.losses import pair_losses


def test_lists_of_the_phases():
  names = {
    phase: [
      loss.name
      for loss in pair_losses.of_settings(settings.Settings(phase=phase))
    ]
    for phase in ('tags', 'dc')
  }
  assert names == {
    'tags': ['triplet'],
    'dc': ['triplet', 'discrimination', 'correction'],
  }
  config = settings.Settings(
    phase='tags',
    losses=settings.Losses(pairs=('correction', 'triplet'), correction=3.0),
  )
  correction, triplet = pair_losses.of_settings(config)
  assert (correction.name, correction.weight) == ('correction', 3.0)
  assert triplet.heads == ('pooler', 'rank_output')


def test_a_loss_that_stands_twice():
  config = settings.Settings(
    losses=settings.Losses(pairs=('triplet', 'triplet'))
  )
  with pytest.raises(errors.UserError, match='two losses named triplet; '):
    pair_losses.of_settings(config)


def test_a_loss_that_fails_in_the_step_is_named(tmp_path):
  # It fits the made-up scores that it is tried on, but no others.
  (tmp_path / 'bad.py').write_text(
    'import jax.numpy as jnp\n'
    'from tagsdc_jax.losses.pair_losses import PairLoss\n'
    'def mine(config):\n'
    '  return PairLoss("mine", lambda _, x: x.probs + jnp.zeros(6))\n'
  )
  (loss,) = pair_losses.of_settings(
    settings.Settings(
      losses=settings.Losses(pairs=('bad:mine',)), extensions=str(tmp_path)
    )
  )
  match = pair_losses.Match(jnp.zeros(3), jnp.zeros(3))
  with pytest.raises(
    errors.UserError, match='losses.pairs bad:mine failed: bad.py, line 4: '
  ):
    loss.function(match, match)


@pytest.mark.parametrize('name', pair_losses.BUILT_IN)
@pytest.mark.parametrize('margin', [0.0, 0.2])
def test_our_own_keep_to_what_is_asked(name, margin):
  config = settings.Settings(losses=settings.Losses(margin=margin))
  pair_losses._check(pair_losses.BUILT_IN[name](config), name, 'packed')


def test_means_by_hand():
  triplet, discrimination, correction = (
    pair_losses.BUILT_IN[name](settings.Settings())
    for name in ('triplet', 'discrimination', 'correction')
  )
  filled = jnp.array([[True, True, False], [False] * 3])
  values = jnp.array([[1.0, 3.0, 100.0], [7.0, jnp.inf, jnp.nan]])
  np.testing.assert_allclose(
    pair_losses.mean_per_positive(triplet, values, filled, None), [2, 0]
  )
  words = pair_losses.Words(
    None,
    None,
    jnp.array([[[True, True]] * 3] * 2),
    jnp.array([[[True, False], [False, False], [True, True]]] * 2),
  )
  values = jnp.arange(12.0).reshape(2, 3, 2)
  # (0 + 1 + 2 + 3) / 4, and the first one alone.
  np.testing.assert_allclose(
    pair_losses.mean_per_positive(discrimination, values, filled, words),
    [1.5, 0],
  )
  np.testing.assert_allclose(
    pair_losses.mean_per_positive(correction, values, filled, words), [0, 0]
  )
  np.testing.assert_allclose(
    pair_losses.mean_per_positive(correction, values + 5, filled, words), [5, 0]
  )
