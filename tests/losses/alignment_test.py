import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax.losses import alignment

# Means along the axes; the second caption's words point between them.
_WORDS = np.array(
  [[[9, 9], [2, 0], [4, 0]], [[9, 9], [1, 0], [0, 1]]], np.float32
)
_IS_WORD = np.array([[False, True, True]] * 2)
_REGIONS = np.array([[[1, 0], [7, 7]], [[0, 2], [0, 4]]], np.float32)
_IS_REGION = np.array([[True, False], [True, True]])


def _loss(image_numbers, words=_WORDS):
  logits = alignment.similarity_logits(words, _IS_WORD, _REGIONS, _IS_REGION)
  numbers = np.array(image_numbers)
  return alignment.alignment_loss(logits, numbers[None] != numbers[:, None])


def test_alignment_loss_by_hand():
  half = np.sqrt(0.5)
  logits = np.array([[1, 0], [half, half]]) / 0.1
  log_softmax = lambda x: x - np.log(np.sum(np.exp(x), -1, keepdims=True))
  expected = -0.5 * np.diag(log_softmax(logits) + log_softmax(logits.T).T)
  np.testing.assert_allclose(_loss([5, 3]), expected, rtol=1e-5)


def test_captions_of_one_image_are_not_contrasted():
  np.testing.assert_array_equal(_loss([4, 4]), [0, 0])


def test_the_gradient_is_finite_where_all_is_zero():
  gradient = jax.grad(lambda x: jnp.sum(_loss([0, 1], x)))(0 * _WORDS)
  assert np.all(np.isfinite(gradient))
  np.testing.assert_array_equal(gradient[:, 0], 0)  # [CLS] is no word.
