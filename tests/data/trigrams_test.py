"""Trigrams: hand-worked probabilities, sums, and where an edit is felt."""

import numpy as np

from tagsdc_jax.data import dataset, trigrams

# a = 5, b = 6, c = 7.
_VOCABULARY = dataset.Vocabulary(8, 0, 1, 2, 3, 4, (5, 8))


def _model(*sentences):
  return trigrams.Model(
    [np.array(one, np.int32) for one in sentences], _VOCABULARY
  )


def test_hand_worked():
  # Words: a b [SEP], a c [SEP].
  found = np.exp(_model([5, 6], [5, 7]).log_probs(np.array([[5, 6]])))
  # Six words of four kinds (a, b, c, [SEP]).
  single = lambda count: (count + 4 / 8) / (6 + 4)
  # After the start always a: twice, of one kind.
  start = (2 + single(2)) / 3
  np.testing.assert_allclose(found[0, 0], (2 + start) / 3)
  # After a: b or c; so after start and a.
  after = (1 + 2 * single(1)) / 4
  np.testing.assert_allclose(found[0, 1], (1 + 2 * after) / 4)


def test_probabilities_add_up():
  model = _model([5, 6, 7], [5, 5], [6])
  # Every word, [SEP] among them, after a and b; and after what was never seen.
  for head in ([5, 6], [7, 7], [6, 5]):
    total = sum(
      np.exp(model.log_probs(np.array([[*head, word]]))[0, 2])
      for word in range(8)
      if word != _VOCABULARY.cls
    )
    cls = np.exp(model.log_probs(np.array([[*head, 2]]))[0, 2])
    np.testing.assert_allclose(total + cls, 1)


def test_where_an_edit_is_felt():
  model = _model([5, 6, 7, 5], [7, 7], [6, 5, 5])
  token_ids = np.array([[5, 7, 6, 5]])
  every = model.log_probs(token_ids)[0]
  assert len(set(every.round(6))) == 5
  for place in range(4):
    is_changed = (np.arange(4) == place)[None]
    found = model.lowest_near(token_ids, is_changed)
    np.testing.assert_allclose(found, every[place : place + 3].min())
  assert model.lowest_near(token_ids, np.zeros((1, 4), bool))[0] == np.inf


def test_sentences_do_not_run_into_each_other():
  model = _model([5], [6])
  found = np.exp(model.log_probs(np.array([[5, 6]])))
  # b never follows a: only single words speak for it.
  assert found[0, 1] < 0.35
