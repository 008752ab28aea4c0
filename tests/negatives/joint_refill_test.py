import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines import engine, padded
from tagsdc_jax.models import flop
from tagsdc_jax.negatives import (
  joint_refill,
  mask_refill,
  masked_words,
  masking,
  source,
  static_refill,
)
from tagsdc_jax.training import mfu

_VOCAB, _MASK_ID = 24, 4
# Word 10 + i is always followed by 14 + i, and that by 18 + i.
_FIRST, _STEP, _KINDS = 10, 4, 4
_CAPTION = [2, 11, 15, 19, 5, 12, 6, 13, 17, 3]  # With [CLS] and [SEP].
# Phrases of one, two and three words.
_ONE, _TWO, _THREE = [5], [7, 8], [1, 2, 3]


def _followers():
  """Logits of the word at a place by the word before it."""
  table = np.full((_VOCAB, _VOCAB), -1e9, np.float32)
  words = range(_FIRST, _FIRST + 3 * _KINDS)
  for word in range(_VOCAB):
    follows = word in words[: 2 * _KINDS]
    # After any other word, one of all of the chain's.
    table[word, [word + _STEP] if follows else words] = 0
  return table


@dataclasses.dataclass(frozen=True)
class _Engine(padded.Padded):
  """Its language head reads nothing but the word before a target."""

  seen: list = dataclasses.field(default_factory=list)

  def embed_text(self, params, texts, dropout_key=None):
    before = jnp.roll(texts.token_ids, 1, axis=-1)
    self.seen.append([texts.token_ids])
    return engine.Embedded(jax.nn.one_hot(before, _VOCAB), texts.num_tokens)

  def embed_image(self, params, images, dropout_key=None):
    return engine.Embedded(images.features, images.num_regions)

  def loss(
    self, row_losses, params, heads, texts, images, rows, key, *, num_outputs
  ):
    assert num_outputs == texts.states.shape[1]
    self.seen[-1] += [rows.image_rows, rows.is_needed]
    return row_losses(
      heads, texts.states[rows.text_rows], rows.inputs, rows.constants
    )

  def read(self, params, head, states):
    assert head == 'mlm_logits'
    return states @ params['mlm_output']


def _engine(num_rounds, num_copies=12, num_samples=5):
  config = settings.Negatives(
    num_copies=num_copies, num_samples=num_samples, refill_rounds=num_rounds
  )
  return _Engine(
    engine.Task(
      None, settings.Settings(negatives=config), _MASK_ID, (5, _VOCAB), ()
    )
  )


_PARAMS = {
  'mlm_output': _followers(),
  'text_embeddings': {'word': np.zeros(1, np.float32)},
}


def _batch(phrases, num_positives=2):
  counts = np.zeros((num_positives, 3, len(_CAPTION)), np.int8)
  for i, places in enumerate(phrases):
    counts[:, i, places] = 1
  row = lambda x: np.stack([np.asarray(x, np.int32)] * num_positives)
  texts = arrays.Texts(row(_CAPTION), row(len(_CAPTION)))
  images = arrays.Images(
    np.zeros((num_positives, 2, _VOCAB), np.float32),
    np.zeros((num_positives, 2, 7), np.float32),
    np.array([2, 1], np.int32)[:num_positives],
  )
  nothing = row(0)
  return jax.tree.map(
    jnp.asarray,
    arrays.MicroBatch(
      nothing,
      nothing,
      texts,
      images,
      counts,
      np.ones(counts.shape[:2], np.int8),
      texts.token_ids[:, None],
      texts,
      images,
      nothing,
      nothing,
    ),
  )


def _is_target(*places):
  """Returns bool [1, copies, L]."""
  found = np.zeros((1, len(places), len(_CAPTION)), bool)
  for row, own in zip(found[0], places, strict=True):
    row[own] = True
  return found


def _follows(sentences, first, second):
  """Whether the word at one place is the only one after that at another."""
  return sentences[..., second] == sentences[..., first] + _STEP


def _write(own, batch, seed=0, write=mask_refill.mask_refill, start=None):
  draws = source.Keys(*jax.random.split(jax.random.key(seed), 3))
  return jax.jit(
    lambda params: write(source.Inputs(own, params, start, batch, draws))
  )(_PARAMS)


def test_rounds_by_hand():
  is_target = _is_target(_ONE + _TWO + _THREE)
  for num_rounds, expected in (
    (1, [0, 0, 0, 0, 0, 0]),
    (2, [0, 1, 0, 0, 0, 1]),
    (3, [0, 1, 2, 0, 0, 1]),
    (4, [0, 1, 2, 0, 0, 1]),
  ):
    rounds = np.asarray(
      joint_refill.rounds_of(jnp.asarray(is_target), num_rounds)
    )
    np.testing.assert_array_equal(rounds[is_target], expected)
  # Five in a row, of two phrases; up to the end of the row.
  is_target = _is_target([5, 6, 7, 8, 9])
  rounds = np.asarray(joint_refill.rounds_of(jnp.asarray(is_target), 3))
  np.testing.assert_array_equal(rounds[is_target], [0, 1, 2, 0, 1])


@pytest.mark.parametrize('write', ['mask_refill', 'static_refill'])
def test_words_of_a_phrase_fit_together(write):
  if write == 'mask_refill':
    start, function = None, mask_refill.mask_refill
  else:
    # They write, not those that are trained.
    start, function = _PARAMS, static_refill.static_refill
  batch = _batch([_ONE, _TWO, _THREE])

  def shares(num_rounds):
    made = _write(_engine(num_rounds), batch, write=function, start=start)
    ids, is_target = map(np.asarray, (made.token_ids, made.is_target))
    assert set(np.unique(ids[is_target])) <= set(range(_FIRST, _VOCAB - 2))
    two = ids[is_target[..., 7]]
    three = ids[is_target[..., 1]]
    assert len(two) > 9 and len(three) > 9
    # After one of the last four words any may follow.
    return [
      np.mean(_follows(rows, *places)[rows[:, places[0]] < _FIRST + 2 * _KINDS])
      for rows, places in ((two, _TWO), (three, [1, 2]), (three, [2, 3]))
    ]

  alone = shares(1)
  assert max(alone) < 0.5
  # In two rounds the first and the third word are drawn at once.
  twice = shares(2)
  assert twice[:2] == [1, 1] and twice[2] < 0.5
  assert shares(3) == shares(4) == [1, 1, 1]


def test_the_first_round_is_that_of_the_paper():
  batch = _batch([_ONE, _TWO, _THREE])
  alone, twice = (_write(_engine(number), batch) for number in (1, 2))
  np.testing.assert_array_equal(alone.losses['mlm'], twice.losses['mlm'])
  np.testing.assert_array_equal(alone.is_target, twice.is_target)
  is_first = np.asarray(
    alone.is_target & (joint_refill.rounds_of(alone.is_target, 2) == 0)
  )
  is_same = np.asarray(alone.token_ids == twice.token_ids)
  assert is_same[is_first].all()
  assert is_same[~np.asarray(alone.is_target)].all()
  assert not is_same.all()

  # One round is what the parts give, bit for bit.
  own = _engine(1)
  draws = source.Keys(*jax.random.split(jax.random.key(0), 3))
  masked, uniforms = mask_refill.draw(own.task, batch, draws)
  mlm, _, sampled = jax.jit(functools.partial(masked_words.predict, own))(
    _PARAMS, batch, masked, uniforms, draws.dropout
  )
  np.testing.assert_array_equal(mlm, alone.losses['mlm'])
  np.testing.assert_array_equal(
    mask_refill.refilled(batch, masked.is_target, sampled).token_ids,
    alone.token_ids,
  )


def test_words_without_neighbors_need_no_other_round():
  batch = _batch([_ONE])
  alone, twice = (_write(_engine(number), batch) for number in (1, 2))
  np.testing.assert_array_equal(alone.token_ids, twice.token_ids)
  lengths = np.asarray(twice.work.lengths)
  assert not lengths[len(alone.work.lengths) :].any()


def test_keys():
  batch = _batch([_TWO])
  first = _write(_engine(2), batch)
  np.testing.assert_array_equal(
    first.token_ids, _write(_engine(2), batch).token_ids
  )
  assert np.any(first.token_ids != _write(_engine(2), batch, 1).token_ids)


def _redraw(num_rounds, num_samples=2):
  """Three copies of a caption: what each round gets, and the words."""
  own = _engine(num_rounds, 3, num_samples)
  batch = _batch([_ONE], 1)
  is_target = _is_target(_ONE, _TWO, _THREE)
  ids = np.where(is_target, _MASK_ID, np.array(_CAPTION, np.int32))
  # Targets that stay the same, and one that became a random word.
  ids[0, 1, 8], ids[0, 2, 2] = _CAPTION[8], 22
  sampled = np.zeros((*is_target.shape, num_samples), np.int32)
  sampled[0, 0, 5] = [10, 14]
  sampled[0, 1, 7], sampled[0, 1, 8] = [12, 11], 9
  sampled[0, 2, 1], sampled[0, 2, 3] = [10, 13], [20, 21]
  with jax.disable_jit():
    drawn = joint_refill.redraw(
      own,
      _PARAMS,
      batch,
      masking.MaskedText(jnp.asarray(ids), jnp.asarray(is_target)),
      jnp.full((*sampled.shape, 2), 0.5),
      jnp.asarray(sampled),
      jax.random.key(0),
    )
  return batch, is_target, own.seen, np.asarray(drawn)


def test_two_rounds_by_hand():
  _, is_target, seen, drawn = _redraw(2)
  [(texts, image_rows, is_needed)] = seen
  # The first copy has no neighbors; two samples each.
  np.testing.assert_array_equal(is_needed, [False] * 2 + [True] * 4)
  np.testing.assert_array_equal(image_rows, [0] * 6)
  start, end = [2, 11, 15, 19, 5], [12, 6, 13, 17, 3]
  np.testing.assert_array_equal(
    texts,
    [
      [*start, 10, *end[1:]],
      [*start, 14, *end[1:]],
      # What is not drawn yet is as it was masked.
      [*start, 12, 6, 12, 17, 3],
      [*start, 12, 6, 11, 17, 3],
      [2, 10, 22, 20, 5, *end],
      [2, 13, 22, 21, 5, *end],
    ],
  )
  words = np.moveaxis(drawn, 3, 2)[0]
  np.testing.assert_array_equal(words[0, :, 5], [10, 14])
  np.testing.assert_array_equal(words[1][:, _TWO], [[12, 16], [11, 15]])
  np.testing.assert_array_equal(
    words[2][:, _THREE], [[10, 14, 20], [13, 17, 21]]
  )


def test_the_work_of_the_rounds_is_that_of_the_rows_that_run():
  for num_rounds in (2, 3, 5):
    batch, is_target, seen, _ = _redraw(num_rounds)
    needed = joint_refill.work_of(
      batch, jnp.asarray(is_target), num_rounds=num_rounds, num_samples=2
    )
    ran = np.concatenate([one[2] for one in seen])
    np.testing.assert_array_equal(needed.lengths, (len(_CAPTION) + 2) * ran)


def test_the_work_of_three_rounds_by_hand():
  model = settings.Model(
    num_layers=2,
    hidden_size=4,
    num_heads=2,
    intermediate_size=8,
    vocab_size=5,
    feature_size=3,
  )
  batch = _batch([_ONE])
  is_target = np.concatenate([_is_target(_ONE, _THREE), _is_target(_TWO, [4])])
  needed = joint_refill.work_of(
    batch, jnp.asarray(is_target), num_rounds=3, num_samples=5
  )
  # Of five samples: the second caption's pair once, the first's three words
  # twice; two and one regions. Three words, and all images in both rounds.
  rows = flop.encoder(model, np.array([11, 12, 12]), np.array([10] * 3))
  np.testing.assert_allclose(
    1e9 * float(mfu.gflop(model, needed)),
    5 * rows.sum()
    + 5 * 3 * flop.word(model)
    + 2 * flop.regions(model, np.array(2 + 1)),
    rtol=1e-6,
  )
