"""What makes an evaluation another one."""

import dataclasses

import jax
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.evaluation import tiles
from tagsdc_jax.runs import fingerprints
from tests import tiny


@pytest.fixture(scope='module', name='data')
def _data(world_dir):
  return tiny.open_train(world_dir)[0]


def _replaced(items, number, item):
  return [*items[:number], item, *items[number + 1:]]


def test_a_split_by_what_is_in_it(data):
  assert fingerprints.of_split(data) == fingerprints.of_split(
      dataclasses.replace(data, name='moved'))
  caption = data.captions[3]
  other_tokens = caption.token_ids.copy()
  other_tokens[0] += 1
  last = len(data.image_ids) - 1

  def other_regions(image):
    regions = data.read_regions(image)
    return dataclasses.replace(regions, features=regions.features + (
        image == last))

  found = {fingerprints.of_split(dataclasses.replace(data, **changes))
           for changes in (
               {},
               {'captions': _replaced(data.captions, 3, dataclasses.replace(
                   caption, token_ids=other_tokens))},
               {'captions': _replaced(data.captions, 3, dataclasses.replace(
                   caption, image=caption.image + 1))},
               {'captions': data.captions[::-1]},
               {'image_ids': _replaced(list(data.image_ids), 0, 'x')},
               {'num_regions': data.num_regions + 1},
               {'read_regions': other_regions})}
  assert len(found) == 7


def test_an_evaluation_by_all_that_matters(data):
  config = settings.Settings()
  devices = jax.local_devices()
  parameters = {'a': {'kernel': np.ones(3, np.float32)}}

  def of(params=parameters, evaluation=config.evaluation, used=config,
         num_devices=1):
    plan = tiles.make_plan(data, evaluation, num_devices)
    return fingerprints.of_evaluation(params, data, plan, used, None,
                                      devices[:num_devices])

  base = of()
  assert base == of() and base['devices'][:2] == [1, 'cpu']
  for changed in (
      of({'a': {'kernel': np.array([1, 1, 1 + 1e-7], np.float32)}}),
      of(evaluation=settings.Evaluation(tile_texts=31)),
      of(evaluation=settings.Evaluation(num_widths=1)),
      of(used=dataclasses.replace(config, compute=settings.Compute(
          dtype='bfloat16'))),
      of(used=dataclasses.replace(config, model=settings.Model(num_heads=6))),
      of(num_devices=2)):
    assert changed != base
  # What does not touch the scores.
  assert base == of(used=dataclasses.replace(config, seed=3))
