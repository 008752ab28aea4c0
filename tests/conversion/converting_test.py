"""Tests of the way to our parameters and back."""

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tagsdc_jax import errors
from tagsdc_jax.conversion import converting, name_rules, tying
from tests.conversion import networks
from tests.golden import reading


def _ours(weights, phase):
  weights = dict(weights)
  tying.settle(weights, phase, None, 'a file')
  return converting.to_parameters(weights)


def test_twelve_layers_come_in_the_order_of_their_numbers():
  weights = {
    f'uniter.encoder.layer.{layer}.output.dense.bias': np.full(
      3, layer, np.float32
    )
    for layer in reversed(range(12))
  }
  encoder = converting.to_parameters(weights)['encoder']
  np.testing.assert_array_equal(
    encoder['layers']['output']['bias'],
    np.repeat(np.arange(11.0), 3).reshape(11, 3),
  )
  np.testing.assert_array_equal(
    encoder['last_layer']['output']['bias'], [11, 11, 11]
  )
  whole = networks.make('tags', 12)
  back = converting.from_parameters(_ours(whole, 'tags'), 'tags')
  for name, array in whole.items():
    np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_linear_layers_are_transposed_and_tables_are_not():
  weights = {
    'itm_output.weight': np.array([[1, 2, 3], [4, 5, 6]]),
    'uniter.img_embeddings.mask_embedding.weight': np.eye(2),
    name_rules.WORDS: np.array([[1, 2], [3, 4], [5, 6]]),
  }
  ours = converting.to_parameters(weights)
  np.testing.assert_array_equal(
    ours['itm_output']['kernel'], [[1, 4], [2, 5], [3, 6]]
  )
  np.testing.assert_array_equal(
    ours['text_embeddings']['word']['embedding'], [[1, 2], [3, 4], [5, 6]]
  )
  with pytest.raises(KeyError):
    converting.to_parameters({'itm_output.gain': np.ones(1)})


@pytest.mark.parametrize(
  'name, phase', [('checkpoint_stage1', 'tags'), ('checkpoint_stage2', 'dc')]
)
def test_recorded_checkpoints_come_back_to_the_last_bit(name, phase):
  weights = safetensors_numpy.load_file(reading.path_of(f'{name}.safetensors'))
  back = converting.from_parameters(_ours(weights, phase), phase)
  assert back.keys() == weights.keys()
  for key, array in weights.items():
    assert back[key].tobytes() == array.tobytes(), key
    assert back[key].shape == array.shape and back[key].dtype == array.dtype
  for copy in name_rules.tied(phase):
    assert back[copy] is back[name_rules.WORDS]


def test_heads_of_later_phases_are_left_out():
  ours = _ours(networks.make('dc'), 'dc')
  weights = converting.from_parameters(ours, 'pretrain')
  expected = networks.make('pretrain')
  assert weights.keys() == expected.keys()
  assert all(array.flags.c_contiguous for array in weights.values())


def test_what_is_missing_or_unknown_is_listed_whole():
  ours = _ours(networks.make('tags'), 'tags')
  del ours['pooler'], ours['encoder']['layers']['attention']['key']['bias']
  ours['wings'] = {'left': np.ones(1), 'right': np.ones(1)}
  with pytest.raises(errors.UserError) as error:
    converting.from_parameters(ours, 'tags')
  assert (
    '3 missing (encoder/layers/attention/key/bias, '
    'pooler/dense/kernel, pooler/dense/bias); '
    '2 unknown (wings/left, wings/right)'
  ) in str(error.value)


def test_layers_of_unequal_number_are_missing():
  ours = _ours(networks.make('tags'), 'tags')
  bias = ours['encoder']['layers']['output']['bias']
  ours['encoder']['layers']['output']['bias'] = bias[:1]
  with pytest.raises(errors.UserError, match='1 missing .encoder/layers/out'):
    converting.from_parameters(ours, 'tags')


def test_half_precision_becomes_float32_exactly():
  # 1/3 in float16 is 1365 / 4096, in bfloat16 171 / 512; 6e-8 is the smallest
  # float16 above 0, 2**-24.
  weights = {
    'half': np.array([1 / 3, 6e-8, 65504], np.float16),
    'brain': np.array([1 / 3, 3e38], ml_dtypes.bfloat16),
    'single': np.array([1 / 3], np.float32),
    'double': np.array([1 / 3], np.float64),
  }
  single = weights['single']
  assert converting.to_float32(weights) == {
    'float16': 1,
    'bfloat16': 1,
    'float64': 1,
  }
  assert all(array.dtype == np.float32 for array in weights.values())
  np.testing.assert_array_equal(weights['half'], [1365 / 4096, 2.0**-24, 65504])
  assert weights['brain'][0] == 171 / 512
  assert weights['single'] is single
  np.testing.assert_array_equal(weights['double'], single)


def test_trees_hold_arrays_only():
  leaves = jax.tree.leaves(_ours(networks.make('dc'), 'dc'))
  assert {type(leaf) for leaf in leaves} == {np.ndarray}
