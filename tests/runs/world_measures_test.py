"""Tests of what the oracle says of a network's negatives."""

import jax
import numpy as np
import pytest

from tagsdc_jax.data import assembling, opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import oracle
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import candidates, mining, retrieved
from tagsdc_jax.runs import setup, world_measures
from tagsdc_jax.runtime import parallel
from tests import tiny


def test_shares_by_hand():
  verdicts = ['false'] * 5 + ['still true'] * 2 + ['not a sentence']
  assert world_measures.shares(verdicts) == {
    'false': 62.5,
    'still_true': 25.0,
    'not_a_sentence': 12.5,
  }
  assert world_measures.shares([]) is None


@pytest.fixture(scope='module')
def opened(world_dir):
  config = setup.with_data_sizes(
    tiny.make_settings('dc', world_dir), tiny.open_train(world_dir)[0]
  )
  return config, [
    opening.open_split(config.data, split) for split in ('validation', 'train')
  ]


def test_batches_are_validation_captions_and_training_pools(opened):
  _, (validation, train) = opened
  joined = opening.join_datasets(validation, train)
  batches = world_measures.MeasuredBatches(
    joined,
    assembling.shapes_of(joined),
    0,
    4,
    6,
    num_images=len(validation.image_ids),
    num_captions=len(validation.captions),
  )
  one, again, other = batches[2], batches[2], batches[3]
  jax.tree.map(np.testing.assert_array_equal, one, again)
  assert not np.array_equal(
    one.pool_texts.token_ids, other.pool_texts.token_ids
  )
  assert one.image_numbers.tolist() == [8, 9, 10, 11]
  own = {tuple(c.token_ids) for c in validation.captions}
  foreign = {tuple(c.token_ids) for c in train.captions}
  for ids, count in zip(one.texts.token_ids, one.texts.num_tokens):
    assert tuple(ids[1 : count - 1]) in own
  for ids, count in zip(one.pool_texts.token_ids, one.pool_texts.num_tokens):
    assert tuple(ids[1 : count - 1]) in foreign


def test_texts_that_are_no_negatives_are_not_judged(opened, world_dir):
  _, (validation, train) = opened
  joined = opening.join_datasets(validation, train)
  batch = world_measures.MeasuredBatches(
    joined,
    assembling.shapes_of(joined),
    0,
    2,
    6,
    num_images=len(validation.image_ids),
    num_captions=len(validation.captions),
  )[0]
  # The two positives come before the pool.
  rows = 2 + np.array([[[0, 1, 2]], [[3, 4, 5]]])
  table = candidates.Table(
    jax.tree.map(
      lambda a, b: np.concatenate([a, b]), batch.texts, batch.pool_texts
    ),
    None,
  )
  judged = [
    world_measures._ask_oracle(
      batch,
      (table, (None,)),
      mining.Selected(None, rows, None, is_other[:, None], None),
      (retrieved.TEXTS,),
      world.load_scenes('validation', data_dir=world_dir, size='tiny'),
    )[1]
    for is_other in (
      np.ones((2, 3), bool),
      np.array([[True, False, True], [False] * 3]),
    )
  ]
  assert len(judged[0]) == 6
  assert judged[1] == judged[0][0:3:2]


def test_a_measure_is_repeatable_and_counts_what_the_oracle_says(
  opened, monkeypatch
):
  config, (_, train) = opened
  devices = parallel.local_devices(2)
  params = parallel.replicate(
    retrieval.init_parameters(setup.make_model(config), jax.random.key(1)),
    devices,
  )
  heard = []
  judge = oracle.judge_ids

  def listen(ids, scene):
    heard.append((tuple(int(i) for i in ids), judge(ids, scene)))
    return heard[-1][1]

  monkeypatch.setattr(oracle, 'judge_ids', listen)
  result = world_measures.measure(params, config, 'dc', train, devices)
  first = list(heard)
  heard.clear()
  assert world_measures.measure(params, config, 'dc', train, devices) == result
  assert heard == first

  for kind in ('synthetic_negatives', 'retrieved_negatives'):
    assert sum(result[kind].values()) == pytest.approx(100)
  # Captions of the training split are sentences, true or false; a fresh
  # network's refills hardly ever are.
  assert result['retrieved_negatives']['not_a_sentence'] == 0
  assert result['synthetic_negatives']['not_a_sentence'] > 50
  # Per picture the sentences come first, then the texts of the pool: counted
  # together they are the two shares, weighed by how many there are.
  num_retrieved = 20 * config.negatives.num_hard
  num_synthetic = len(first) - num_retrieved
  assert num_synthetic > num_retrieved
  for verdict, name in (('false', 'false'), ('still true', 'still_true')):
    expected = sum(v == verdict for _, v in first)
    counted = (
      num_synthetic * result['synthetic_negatives'][name]
      + num_retrieved * result['retrieved_negatives'][name]
    ) / 100
    assert counted == pytest.approx(expected)


def test_pretraining_has_foils_only(opened):
  config, (_, train) = opened
  devices = parallel.local_devices(2)
  params = parallel.replicate(
    retrieval.init_parameters(setup.make_model(config), jax.random.key(1)),
    devices,
  )
  result = world_measures.measure(params, config, 'pretrain', train, devices)
  assert result['synthetic_negatives'] is None
  assert result['retrieved_negatives'] is None
  # It ranks by the difference of its two matching logits.
  assert (
    result['foil_accuracy']
    != world_measures.measure(params, config, 'dc', train, devices)[
      'foil_accuracy'
    ]
  )
