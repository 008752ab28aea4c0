"""Tests of foils and of the share that their caption outscores."""

import dataclasses

import jax
import numpy as np
import pytest

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
    changed = np.flatnonzero(foil.token_ids != caption.token_ids)
    words = grammar.to_words(foil.token_ids)
    assert len(changed) == 1, words
    kinds = {
      'colour': scenes.COLORS,
      'shape': scenes.SHAPES,
      'size': scenes.SIZES,
      'relation': ('left', 'right', 'above', 'below'),
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


def test_accuracy_by_kind_by_hand():
  made = [
    foils.Foil(kind, 0, np.zeros(3, np.int32))
    for kind in ('colour', 'colour', 'shape', 'size', 'relation')
  ]
  is_right = np.array([True, False, True, False, True])
  assert foil_evaluation.accuracy_by_kind(made, is_right) == {
    'all': 62.5,
    'colour': 50.0,
    'shape': 100.0,
    'size': 0.0,
    'relation': 100.0,
  }


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
  expected = foil_evaluation.accuracy_by_kind(made, true > false)
  for kind, value in expected.items():
    assert abs(result[kind] - value) <= 100 * (1 - clear.mean()) + 1e-6
