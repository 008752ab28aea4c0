"""Tests of the table of names."""

import dataclasses

import jax
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.conversion import converting, name_rules
from tagsdc_jax.models import retrieval
from tests.conversion import networks


@pytest.mark.parametrize('num_layers', [1, 2, 4])
def test_the_table_is_that_of_our_network(num_layers):
  model = retrieval.RetrievalModel(
    settings.Model(
      **networks.SIZES | {'num_layers': num_layers, 'num_heads': 2}
    )
  )
  weights = networks.make('dc', num_layers)
  for name in name_rules.TIED:
    del weights[name]
  ours = converting.to_parameters(weights)
  assert jax.tree.map(np.shape, ours) == jax.tree.map(
    lambda x: x.shape, retrieval.parameter_shapes(model)
  )


def test_sizes_are_settings():
  known = {field.name for field in dataclasses.fields(settings.Model)}
  words = {
    size
    for parameter in name_rules.parameters('dc', 1).values()
    for size in parameter.shape
    if isinstance(size, str)
  }
  assert words | {'num_layers'} == set(networks.SIZES) <= known


@pytest.mark.parametrize(
  'phase, num_names',
  [
    # Texts 3 + 2, images 4 + 6 + 1, pooler 2, 16 a layer, mlm 5, itm 2;
    # rank 2; disc 2, correction 5.
    ('pretrain', 25 + 16),
    ('tags', 27 + 16),
    ('dc', 34 + 16),
  ],
)
def test_a_phase_has_the_heads_of_those_before_it(phase, num_names):
  assert len(name_rules.parameters(phase, 1)) == num_names
  assert len(name_rules.parameters(phase, 3)) == num_names + 32


def test_phases_are_recognized_by_their_heads():
  for phase in settings.PHASES:
    names = list(networks.make(phase))
    assert name_rules.recognize(names) == phase
  assert name_rules.recognize(['disc_output.bias']) == 'dc'
  assert name_rules.recognize(['conv.weight']) == 'pretrain'
  with pytest.raises(ValueError, match="got 'stage1'"):
    name_rules.parameters('stage1', 1)


def test_heads_after_a_phase():
  assert name_rules.heads_after('pretrain') == (
    'rank_output',
    'disc_output',
    'correction_output',
  )
  assert name_rules.heads_after('tags') == ('disc_output', 'correction_output')
  assert name_rules.heads_after('dc') == ()


@pytest.mark.parametrize(
  'old, new',
  [
    ('uniter.embeddings.LayerNorm.gamma', 'uniter.embeddings.LayerNorm.weight'),
    ('uniter.embeddings.LayerNorm.beta', 'uniter.embeddings.LayerNorm.bias'),
    ('itm_output.weight', 'itm_output.weight'),
    ('gamma', 'weight'),
    # Only as the last word of a name.
    ('uniter.gammas.beta_x', 'uniter.gammas.beta_x'),
  ],
)
def test_old_names(old, new):
  assert name_rules.modern(old) == new


def test_layers():
  name = 'uniter.encoder.layer.10.output.dense.weight'
  assert name_rules.layer_of(name) == (10, 'output.dense.weight')
  assert name_rules.place(name).path == 'output/kernel'
  assert name_rules.place(name).is_transposed
  assert not name_rules.place('itm_output.bias').is_transposed
  assert name_rules.layer_of('itm_output.bias') == (-1, 'itm_output.bias')
  for unknown in (
    'itm_output.gain',
    'uniter.encoder.layer.0.output.bias',
    *name_rules.TIED,
  ):
    with pytest.raises(KeyError):
      name_rules.place(unknown)
  # A stray name is no layer.
  assert (
    name_rules.count_layers(
      [name, name.replace('10', '9'), 'uniter.encoder.layer.70.wings']
    )
    == 2
  )
  assert name_rules.count_layers([]) == 1
