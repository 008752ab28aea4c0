"""Calibration: recovers known probabilities; reliability by hand."""

import numpy as np
import pytest
from scipy import special

from tagsdc_jax.evaluation import calibration


def _sample(count, seed, has_lead=True):
  """Scores whose true log-odds are 2 score + lead - 1."""
  rng = np.random.default_rng(seed)
  scores, captions = rng.normal(size=(2, count))
  logits = 2 * scores + has_lead * (scores - captions) - 1
  is_true = rng.random(count) < special.expit(logits)
  return calibration.Sample(scores, captions, is_true, has_lead), logits


@pytest.mark.parametrize('has_lead', [True, False])
def test_finds_the_weights(has_lead):
  sample, logits = _sample(40_000, 0, has_lead)
  found = calibration.fit(sample)
  share = np.mean(sample.is_true)
  # Both classes weigh the same, which moves the offset only.
  prior = np.log(share / (1 - share))
  assert found.score == pytest.approx(2, abs=0.1)
  assert found.lead == pytest.approx(has_lead * 1.0, abs=0.1)
  assert found.offset == pytest.approx(-1 - prior, abs=0.1)
  probs = found.probability(sample.scores, sample.caption_scores)
  np.testing.assert_allclose(probs, special.expit(logits - prior), atol=0.03)


def test_reliability_of_the_right_and_of_a_wrong_one():
  sample, _ = _sample(20_000, 1)
  held_out, _ = _sample(20_000, 2)
  right = calibration.fit(sample)
  assert calibration.reliability(right, held_out)['ece'] < 0.02
  wrong = calibration.Calibration(right.score * 4, right.lead * 4, 0.0)
  assert calibration.reliability(wrong, held_out)['ece'] > 0.08


def test_reliability_by_hand():
  # Probabilities 0.5, 0.5, 0.95..: two classes of equal weight.
  one = calibration.Calibration(1.0, 0.0, 0.0)
  sample = calibration.Sample(
    np.array([0.0, 0.0, 3.0, 3.0]),
    np.zeros(4),
    np.array([True, False, True, True]),
    False,
  )
  found = calibration.reliability(one, sample)
  assert [x['count'] for x in found['bins']] == [0] * 5 + [2] + [0] * 3 + [2]
  # Of the one false, weight 1/2; of three true, 1/6 each.
  assert found['bins'][5]['observed'] == pytest.approx(
    (1 / 6) / (1 / 6 + 1 / 2)
  )
  assert found['bins'][9]['observed'] == 1
  assert found['bins'][0]['observed'] is None
  # True 0 ties with the false one, both 3s are above.
  assert found['auc'] == pytest.approx((0.5 + 1 + 1) / 3)


def test_classes_that_can_be_separated():
  sample = calibration.Sample(
    np.array([-1.0, -2, 1, 2]),
    np.zeros(4),
    np.array([False, False, True, True]),
    False,
  )
  probs = calibration.fit(sample).probability(sample.scores, np.zeros(4))
  assert np.isfinite(probs).all()
  assert (probs[:2] < 0.5).all() and (probs[2:] > 0.5).all()
