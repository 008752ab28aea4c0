"""What the settings' quirks do to the result of an evaluation."""

import types

import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.evaluation import evaluating, matrix, ranking
from tagsdc_jax.models import retrieval

# Of 12 captions and images caption i is image i's. All are ranked first, but
# for caption 1: image 0 is better by less than float16 can tell at 8.
_SCORES = np.eye(12, dtype=np.float32) * 8
_SCORES[1, 0] = 8.001
_SCORES[0, 0] = 8.002


@pytest.fixture(name='evaluate')
def _evaluate(monkeypatch):
  monkeypatch.setattr(matrix, 'score_matrix',
                      lambda *args, **kwargs: _SCORES.copy())
  data = types.SimpleNamespace(
      captions=[types.SimpleNamespace(image=i, token_ids=[i])
                for i in range(12)],
      image_ids=range(12), captions_of_image=[(i,) for i in range(12)])

  def run(**quirks):
    config = settings.Settings(quirks=settings.Quirks(**quirks))
    model = retrieval.RetrievalModel(config.model)
    return evaluating.evaluate(model, None, data, config, devices=[])
  return run


def test_corrected(evaluate):
  result, scores = evaluate()
  assert result['image_retrieval']['r1'] == pytest.approx(100 * 11 / 12)
  assert result['text_retrieval']['r1'] == pytest.approx(100)
  np.testing.assert_array_equal(scores, _SCORES)


def test_float16_scores_tie(evaluate):
  result, scores = evaluate(float16_scores=True)
  # Text: captions 0 and 1 tie for image 0, and ties count against the model.
  assert result['image_retrieval']['r1'] == pytest.approx(100 * 11 / 12)
  assert result['text_retrieval']['r1'] == pytest.approx(100 * 11 / 12)
  # What is returned, and may be written to a file, is not rounded.
  np.testing.assert_array_equal(scores, _SCORES)


def test_overcounted_recall(evaluate):
  result, _ = evaluate(overcounted_recall=True)
  # 11 of 12, and caption 0, among the first 1, once more; all 12 and 5 more.
  assert result['image_retrieval'] == pytest.approx({
      'r1': 100 * 12 / 12, 'r5': 100 * 17 / 12, 'r10': 100 * 22 / 12})
  assert result['text_retrieval']['r5'] == 100
  assert result['mean_r1'] == pytest.approx(100)


def test_protocols_come_besides_the_whole_split():
  data = types.SimpleNamespace(
      captions=[types.SimpleNamespace(image=i, token_ids=[i])
                for i in range(12)],
      image_ids=range(12), captions_of_image=[(i,) for i in range(12)])
  seen = []

  def half(scores, given, counted):
    seen.append((scores.is_rounded, given is data, counted.quirks))
    return {'rsum': 1.0}

  quirks = settings.Quirks(float16_scores=True)
  result = evaluating.rank(ranking.Scores(_SCORES), data, quirks,
                           {'half': half})
  assert seen == [(True, True, quirks)]
  assert result['protocols'] == {'half': {'rsum': 1.0}}
  assert result['images'] == 12 and result['text_retrieval']['r5'] == 100
