"""Tests of foils and of the share that their caption outscores."""

import dataclasses

import jax
import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import foils, grammar, oracle, scenes
from tagsdc_jax.evaluation import foils as foil_evaluation
from tagsdc_jax.evaluation import matrix, scored_pairs
from tagsdc_jax.models import retrieval
from tagsdc_jax.runtime import parallel
from tests import tiny


@pytest.fixture(scope='module')
def split(world_dir):
  data = world.load_world('validation', data_dir=world_dir, size='tiny')
  return data, world.load_scenes('validation', data_dir=world_dir, size='tiny')


def test_every_foil_is_false_and_differs_in_one_place(split):
  data, drawn = split
  made = foils.make_foils(data, drawn)
  for foil in made:
    caption = data.captions[foil.caption]
    scene = drawn[caption.image]
    assert oracle.judge_ids(caption.token_ids, scene) == 'still true'
    assert oracle.judge_ids(foil.token_ids, scene) == 'false'
    words = grammar.to_words(foil.token_ids)
    if foil.kind == 'swap':
      assert sorted(words) == sorted(grammar.to_words(caption.token_ids))
      continue
    changed = np.flatnonzero(foil.token_ids != caption.token_ids)
    assert len(changed) == 1, words
    kinds = {
      'colour': scenes.COLORS,
      'shape': scenes.SHAPES,
      'size': scenes.SIZES,
      'relation': grammar.RELATIONS,
    }
    assert words[changed[0]] in kinds[foil.kind]
  # At most one of a kind per caption, and never a sentence without colour
  # or shape to change.
  assert len({(f.caption, f.kind) for f in made}) == len(made)
  assert {f.caption for f in made if f.kind == 'shape'} == set(
    range(len(data.captions))
  )


def test_foils_depend_on_the_seed_only(split):
  data, drawn = split
  first, again, other = (foils.make_foils(data, drawn, s) for s in (0, 0, 1))

  def tokens(made):
    return [f.token_ids.tolist() for f in made]

  assert tokens(first) == tokens(again) != tokens(other)


def test_a_caption_off_the_grammar_is_named(split):
  data, drawn = split
  broken = dataclasses.replace(
    data.captions[0], token_ids=np.array([5, 5], np.int32)
  )
  with pytest.raises(ValueError, match='caption 0 of world/validation'):
    foils.make_foils(
      dataclasses.replace(data, captions=[broken, *data.captions[1:]]), drawn
    )


def _numbers(found):
  return {kind: entry['accuracy'] for kind, entry in found.items()}


def test_accuracy_by_kind_by_hand():
  kinds = ['colour'] * 2 + ['shape', 'size', 'relation']
  is_right = np.array([True, False, True, False, True])
  images = np.array([0, 1, 0, 1, 2])
  found = foil_evaluation.accuracy_by_kind(kinds, is_right, images)
  # A foil of each of the others is too few for the mean.
  assert _numbers(found) == {
    'all': 50.0,
    'colour': 50.0,
    'shape': 100.0,
    'size': 0.0,
    'relation': 100.0,
  }
  assert [found[kind]['in_mean'] for kind in ('colour', 'shape')] == [1, 0]
  assert [found[kind]['count'] for kind in ('all', 'colour', 'size')] == [
    2,
    2,
    1,
  ]
  # And with one picture there is nothing to draw from.
  one = foil_evaluation.accuracy_by_kind(['size'], is_right[:1], images[:1])
  assert (one['all']['low'], one['all']['high']) == (0, 100)


def test_the_mean_is_over_kinds_and_leaves_out_rare_ones():
  counts = {'colour': 300, 'size': 100, 'swap': 99}
  kinds = [kind for kind, count in counts.items() for _ in range(count)]
  is_right = np.array([kind != 'size' for kind in kinds])
  images = np.arange(len(kinds)) % 50
  found = foil_evaluation.accuracy_by_kind(kinds, is_right, images)
  assert found['all']['accuracy'] == 50.0
  assert found['all']['count'] == 400 and not found['swap']['in_mean']


def test_intervals_are_those_of_drawing_pictures():
  # All foils of a picture are right or wrong together: 40 independent draws.
  rng = np.random.default_rng(0)
  by_picture = rng.random(40) < 0.7
  kinds, images = ['shape'] * 400, np.repeat(np.arange(40), 10)
  found = foil_evaluation.accuracy_by_kind(kinds, by_picture[images], images)
  share = by_picture.mean()
  spread = 100 * 1.96 * np.sqrt(share * (1 - share) / 40)
  entry = found['shape']
  assert entry['accuracy'] == pytest.approx(100 * share)
  assert entry['high'] - entry['low'] == pytest.approx(2 * spread, rel=0.2)
  assert entry == found['all']
  # As if each foil were a picture of its own: much narrower.
  apart = foil_evaluation.accuracy_by_kind(
    kinds, by_picture[images], np.arange(400)
  )['shape']
  assert apart['high'] - apart['low'] < (entry['high'] - entry['low']) / 2


def test_scores_of_sentences_are_those_of_the_matrix(split, world_dir):
  data, drawn = split
  config = tiny.make_settings('tags', world_dir)
  model = tiny.make_task(config).model
  devices = parallel.local_devices(3)
  params = parallel.replicate(
    retrieval.init_parameters(model, jax.random.key(3)), devices
  )
  scores = matrix.score_matrix(
    model, params, data, config.evaluation, devices=devices
  )
  numbers = np.arange(len(data.captions))[::-1][:50]
  images = (numbers * 7) % len(data.image_ids)
  listed = scored_pairs.score_sentences(
    model,
    params,
    data,
    [data.captions[n].token_ids for n in numbers],
    images.tolist(),
    devices=devices,
  )
  np.testing.assert_allclose(listed, scores[numbers, images], atol=1e-5)

  # An untrained network's accuracy, counted by hand from single scores.
  made = foils.make_foils(data, drawn)
  result = foil_evaluation.foil_accuracy(
    model, params, data, made, devices=devices
  )
  own = [data.captions[f.caption].image for f in made]
  false = scored_pairs.score_sentences(
    model, params, data, [f.token_ids for f in made], own, devices=devices
  )
  true = scores[[f.caption for f in made], own]
  clear = np.abs(true - false) > 1e-4
  assert clear.mean() > 0.9
  expected = foil_evaluation.accuracy_by_kind(
    [f.kind for f in made], true > false, np.array(own)
  )
  assert set(result) == set(expected) == {'all', *foils.KINDS}
  for kind, value in _numbers(expected).items():
    difference = abs(result[kind]['accuracy'] - value)
    assert difference <= 100 * (1 - clear.mean()) + 1e-6


@pytest.fixture(scope='module')
def scorer(split, world_dir):
  """Scores captions by number, with images by number."""
  data, _ = split
  model = tiny.make_task(tiny.make_settings('tags', world_dir)).model
  devices = parallel.local_devices(3)
  params = parallel.replicate(tiny.large_parameters(model), devices)

  def score(numbers, images, changed=lambda tokens: tokens, **more):
    return scored_pairs.score_sentences(
      model,
      params,
      more.pop('data', data),
      [changed(data.captions[number].token_ids) for number in numbers],
      images,
      devices=devices,
      **more,
    )

  return score


def test_scores_depend_on_the_pairs_only(scorer):
  rng = np.random.default_rng(0)
  numbers, images = rng.integers(0, 40, 60), rng.integers(0, 12, 60)
  scores = scorer(numbers, images)
  assert scores.dtype == np.float32 and np.std(scores) > 0.1
  order = rng.permutation(60)
  again = np.concatenate([order, order[:25]])
  # To the last bit, so that equal pairs are ties.
  np.testing.assert_array_equal(
    scorer(numbers[again], images[again]), scores[again]
  )
  assert scorer([], []).shape == (0,)


def test_many_small_steps_give_the_same(scorer, monkeypatch):
  # One picture has more sentences than a step, others are alone.
  numbers = np.arange(60)
  images = np.array([5] * 20 + list(range(12)) + [7] * 28)
  whole = scorer(numbers, images)
  monkeypatch.setattr(scored_pairs, '_SENTENCES', 9)
  monkeypatch.setattr(scored_pairs, '_IMAGES', 4)
  counts = []
  parts = scorer(numbers, images, progress=counts.append)
  np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
  assert sum(counts) == 60 and max(counts) == 9
  assert scored_pairs.num_different([numbers[:2]] * 3, [1, 1, 2]) == 2


def test_steps_by_hand():
  images = [0, 0, 0, 1, 2, 2, 3]
  assert scored_pairs._steps(images, 4, 2) == [range(4), range(4, 7)]
  assert scored_pairs._steps(images, 2, 9) == [
    range(2),
    range(2, 4),
    range(4, 6),
    range(6, 7),
  ]
  assert scored_pairs._steps(images, 9, 1) == [
    range(3),
    range(3, 4),
    range(4, 6),
    range(6, 7),
  ]


def test_a_score_that_is_not_finite_is_named(split, scorer):
  data, _ = split

  def read(image):
    regions = data.read_regions(image)
    if image != 3:
      return regions
    features = np.full_like(regions.features, np.nan)
    return dataclasses.replace(regions, features=features)

  spoiled = dataclasses.replace(data, read_regions=read)
  with pytest.raises(errors.UserError) as caught:
    scorer([0, 1], [2, 3], data=spoiled)
  assert repr(data.captions[1].text) in str(caught.value)
  assert f'image {data.image_ids[3]} of world/validation' in str(caught.value)
