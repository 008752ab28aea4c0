"""The work that a micro-batch needs: by hand, and by what the queues run."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.engines import work
from tagsdc_jax.engines.packed import chunks, targets
from tagsdc_jax.losses import pair_losses
from tagsdc_jax.models import flop, retrieval
from tagsdc_jax.negatives import candidates, masked_words, mining, source
from tagsdc_jax.objectives import count_work
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys, mfu
from tests import tiny

_MODEL = settings.Model(
  num_layers=2,
  hidden_size=4,
  num_heads=2,
  intermediate_size=8,
  vocab_size=5,
  feature_size=3,
)
_WORD, _REGION = 72, 80  # FLOP; see models/flop_test.py.


def _batch():
  """Two positives, of 3 tokens and 2 regions and of 4 and 1."""
  texts = arrays.Texts(jnp.zeros((2, 6), jnp.int32), jnp.array([3, 4]))
  images = arrays.Images(None, None, jnp.array([2, 1]))
  return arrays.MicroBatch(None, None, texts, images, *[None] * 7)


def _scored(*lengths):
  return float(np.sum(flop.scored(_MODEL, np.array(lengths))))


def _masked():
  """Two copies each with gradient, 5 targets, an image each."""
  rows = flop.encoder(_MODEL, np.array([5, 5]), np.array([3, 4]))
  return 3 * (2 * rows.sum() + 5 * _WORD) + 2 * (2 + 1) * _REGION


def _targets():
  return (
    jnp.zeros((2, 2, 6), bool)
    .at[
      (
        jnp.array([0, 0, 1, 1, 1]),
        jnp.array([0, 1, 0, 1, 1]),
        jnp.array([1, 1, 2, 1, 2]),
      )
    ]
    .set(True)
  )


def _parts():
  """A pool of 3; four sentences each; two hard negatives of each source."""
  # Own texts, the pool's, of which the last equals the first, sentences.
  tokens = jnp.array([3, 4, 5, 3, 5, *[3] * 4, *[4] * 4])
  table = candidates.Table(
    arrays.Texts(jnp.zeros((13, 6), jnp.int32), tokens),
    arrays.Images(None, None, jnp.array([2, 1, 2, 5, 3])),
  )
  own = jnp.array([[0], [1]])
  pool = jnp.array([[2, 3, 4]] * 2)
  written = source.Sentences(
    None,
    None,
    None,
    None,
    None,
    work=masked_words.work_of(_batch(), _targets(), has_gradient=True),
  )
  proposed = (
    candidates.Candidates(
      own.repeat(3, 1), pool, jnp.ones((2, 3), bool), None, None
    ),
    # The second text equals a caption of the second image.
    candidates.Candidates(
      pool,
      own.repeat(3, 1),
      jnp.array([[True] * 3, [True, False, True]]),
      jnp.array([0, 1, 0]),
      None,
    ),
    candidates.Candidates(
      5 + jnp.arange(8).reshape(2, 4),
      own.repeat(4, 1),
      jnp.array([[True, False, True, False], [False, True] * 2]),
      None,
      written,
    ),
  )
  selected = mining.Selected(
    None,
    jnp.array([[[0, 0], [2, 4], [5, 7]], [[1, 1], [3, 2], [12, 9]]]),
    jnp.array([[[2, 3], [0, 0], [0, 0]], [[3, 4], [1, 1], [1, 1]]]),
    # The second positive has one text and one sentence.
    jnp.array(
      [[[True, True]] * 3, [[True, True], [False, True], [True, False]]]
    ),
    None,
  )
  # It has no triplet beyond its margin, but one of what is not there.
  triplets = jnp.array(
    [[[0.1, 0], [0, 0.1], [0.1, 0]], [[0, 0], [0.1, 0], [0, 0.1]]]
  )
  return table, proposed, selected, triplets


def _negatives(phase):
  table, proposed, selected, triplets = _parts()
  losses = pair_losses.of_settings(settings.Settings(phase=phase))
  # Two sentences with a target each, one with two.
  is_target = (
    jnp.zeros((2, 3, 2, 6), bool)
    .at[
      jnp.array([0, 0, 1, 1]),
      2,
      jnp.array([0, 1, 0, 0]),
      jnp.array([1, 1, 1, 2]),
    ]
    .set(True)
  )
  words = pair_losses.Words(None, None, None, is_target)
  needed = count_work.of_negatives(
    table,
    proposed,
    selected,
    losses,
    {'triplet': triplets},
    words if phase == 'dc' else None,
  )
  return 1e9 * float(mfu.gflop(_MODEL, needed))


def test_stage_1_by_hand():
  scored = (
    _scored(3 + 2, 3 + 5, 3 + 3, 4 + 2, 4 + 5, 4 + 3)  # With all images.
    + _scored(5 + 2, 3 + 2, 5 + 1)  # With the two different texts.
    + _scored(5, 5, 5, 5)  # Four valid sentences.
    + (2 + 1 + 2 + 5 + 3) * _REGION
  )
  forward = (
    _scored(5, 5)  # Positives.
    + _scored(3 + 2, 3 + 5, 4 + 5, 4 + 3)
    + _scored(5 + 2, 5 + 2, 5 + 1)
    + _scored(5, 5, 5)  # The sentences that are filled.
    + (2 + 5 + 5 + 3) * _REGION
  )
  # The first positive, an image, a text and a sentence of it.
  backward = 2 * _scored(5, 3 + 2, 5 + 2, 5) + 2 * _REGION
  own_images = 2 * (2 + 1) * _REGION
  np.testing.assert_allclose(
    _negatives('tags'),
    _masked() + scored + forward + backward + own_images,
    rtol=1e-6,
  )


def test_stage_2_reads_all_words_of_its_sentences():
  words = flop.encoder(_MODEL, np.array([5, 5, 5]), np.array([3, 3, 4]))
  more = (
    3 * (words.sum() + 3 * flop.pooled(_MODEL))
    - _scored(5, 5, 5)
    - 2 * _scored(5)
    + 3 * 4 * _WORD
  )
  np.testing.assert_allclose(
    _negatives('dc'), _negatives('tags') + more, rtol=1e-6
  )


def test_pretraining_by_hand():
  partners = jnp.array([[0, 1], [1, 0]])
  is_counted = jnp.array([[True, True], [True, False]])
  needed = work.join(
    [
      masked_words.work_of(_batch(), _targets(), has_gradient=True),
      count_work.of_matching(_batch(), partners, is_counted),
      count_work.of_images(_batch()),
    ]
  )
  pairs = _scored(3 + 2, 3 + 1, 4 + 1)
  np.testing.assert_allclose(
    1e9 * float(mfu.gflop(_MODEL, needed)),
    _masked() + 3 * pairs + 2 * (2 + 1) * _REGION,
    rtol=1e-6,
  )


def test_a_frozen_writer_has_no_backward_pass():
  one = masked_words.work_of(_batch(), _targets(), has_gradient=False)
  rows = flop.encoder(_MODEL, np.array([5, 5]), np.array([3, 4]))
  np.testing.assert_allclose(
    1e9 * float(mfu.gflop(_MODEL, one)),
    2 * rows.sum() + 5 * _WORD + (2 + 1) * _REGION,
    rtol=1e-6,
  )


class _Spy:
  """Keeps what the queues and the word heads run."""

  def __init__(self, monkeypatch):
    self.plans = []  # Lengths and which rows, of the queues in their order.
    self.backward = []  # (number of the queue, row)
    self.num_words = 0
    self._now = None  # Number of the queue and the rows of its chunk.
    for where, name in (
      (chunks, 'make_plan'),
      (chunks, 'next_chunk'),
      (targets, 'sum_real_rows'),
      (retrieval, 'apply'),
    ):
      monkeypatch.setattr(
        where,
        name,
        functools.partial(getattr(self, '_' + name), getattr(where, name)),
      )

  def _make_plan(self, make_plan, lengths, is_valid, *args):
    self.plans.append((lengths, is_valid))
    return make_plan(lengths, is_valid, *args)

  def _next_chunk(self, next_chunk, *args):
    rows, layout, following = next_chunk(*args)
    self._now = len(self.plans) - 1, rows
    return rows, layout, following

  def _apply(self, apply, model, params, method, *args, **kwargs):
    states = apply(model, params, method, *args, **kwargs)
    if method != 'encode_tokens':
      return states
    which, rows = self._now

    @jax.custom_vjp
    def identity(states, rows):
      return states

    def pull_back(rows, cotangent):
      jax.debug.callback(
        lambda rows: self.backward.extend((which, int(row)) for row in rows),
        rows,
      )
      return cotangent, None

    identity.defvjp(lambda states, rows: (states, rows), pull_back)
    return identity(states, rows)

  def _sum_real_rows(
    self, sum_real_rows, function, parameters, rows, constants, is_real, chunk
  ):
    jax.debug.callback(self._count_words, jnp.sum(is_real))
    return sum_real_rows(function, parameters, rows, constants, is_real, chunk)

  def _count_words(self, number):
    self.num_words += int(number)


def _run_and_spy(task, params, batch, monkeypatch):
  """Returns the GFLOP, the queues' plans, and the spy."""
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  batch = jax.tree.map(jnp.asarray, batch)
  spy = _Spy(monkeypatch)

  @jax.jit
  def run(params):
    def objective(params):
      loss, (_, needed) = setup.make_phase(task).objective(
        params, None, batch, draws
      )
      return loss, (mfu.gflop(task.model.config, needed), list(spy.plans))

    # The gradient is not returned, so that most of it is not compiled.
    return jax.grad(objective, has_aux=True)(params)[1]

  gflop, plans = jax.device_get(run(params))
  jax.effects_barrier()
  return gflop, plans, spy


def test_the_step_needs_what_its_queues_run(world_dir, monkeypatch):
  config = tiny.make_settings('dc', world_dir)
  config = dataclasses.replace(
    config,
    negatives=dataclasses.replace(config.negatives, num_hard=2),
    # One row at once: none is run backward for another's sake.
    compute=dataclasses.replace(
      config.compute, num_score_buckets=1, gradient_tokens=1
    ),
    # Some triplets within their margin, some not.
    losses=dataclasses.replace(config.losses, margin=0.02),
  )
  task = tiny.make_task(config)
  params = tiny.make_state(task)[1].params
  batch = tiny.make_source(config)[0]
  # All but the last text of the pool are a caption of the first image.
  own = np.array(batch.pool_texts.token_ids)
  own[:-1] = batch.references[0, 0]
  batch = dataclasses.replace(
    batch, pool_texts=arrays.Texts(own, np.sum(own != 0, axis=1))
  )
  gflop, plans, spy = _run_and_spy(task, params, batch, monkeypatch)
  tokens, regions = batch.texts.num_tokens, batch.images.num_regions
  model, counts = task.model.config, config.negatives
  num_hard, count = counts.num_hard, len(tokens)
  masked, scored, kept = range(3)
  read = lambda lengths: flop.encoder(
    model, lengths, np.repeat(tokens, len(lengths) // count)
  )
  # Of retrieved images and texts nothing but [CLS] is needed.
  is_sentence = np.arange(len(plans[kept][0])) // num_hard % 3 == 2
  row_flop = [
    read(plans[masked][0]),
    flop.scored(model, plans[scored][0]),
    np.where(
      is_sentence,
      read(plans[kept][0]) + flop.pooled(model),
      flop.scored(model, plans[kept][0]),
    ),
  ]
  total = sum(
    np.sum(flops * is_run)
    for flops, (_, is_run) in zip(row_flop, plans, strict=True)
  )
  # The positives are no queue's; each has a negative that is too close.
  total += 3 * np.sum(flop.scored(model, tokens + regions))

  assert len(spy.backward) == len(set(spy.backward))
  total += 2 * sum(row_flop[which][row] for which, row in spy.backward)
  by_queue = [
    sorted(row for w, row in spy.backward if w == which) for which in range(3)
  ]
  assert by_queue[masked] == list(range(count * counts.num_copies))
  assert not by_queue[scored]
  is_active = np.zeros(3 * count * num_hard, bool)
  is_active[by_queue[kept]] = True
  is_active = is_active.reshape(count, 3, num_hard)
  is_needed = plans[kept][1].reshape(is_active.shape)
  np.testing.assert_array_equal(is_active[:, 2], is_needed[:, 2])
  np.testing.assert_array_equal(
    is_needed[:, 1], [[True, False], [True, True], [True, True]]
  )
  is_active = is_active[:, :2]
  assert is_active.any(axis=(1, 2)).all() and not is_active.all()

  total += 3 * flop.word(model) * spy.num_words
  lengths = plans[kept][0].reshape(count, 3, num_hard)
  hard_regions = lengths[:, 0] - tokens[:, None]
  total += flop.regions(model, np.array(1)) * (
    (2 + 1 + 2) * regions.sum()
    + batch.pool_images.num_regions.sum()
    + np.sum(hard_regions * (1 + is_active[:, 0]))
  )
  np.testing.assert_allclose(gflop, 1e-9 * total, rtol=1e-6)
