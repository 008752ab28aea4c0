"""Tests of reading BERT's weights: layouts, and what is refused."""

import json

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tagsdc_jax import errors
from tagsdc_jax.conversion import bert, name_rules
from tests.conversion import networks

SIZES = {k: v for k, v in networks.SIZES.items() if k != 'feature_size'}
POSITION_IDS = 'embeddings.position_ids'


def _make(prefix='bert.', has_mlm=True):
  """Returns random weights under BERT's names, and under the release's."""
  rng = np.random.default_rng(0)
  release = {
    name: rng.normal(size=[SIZES.get(n, n) for n in p.shape]).astype(np.float32)
    for name, p in name_rules.text_parameters(SIZES['num_layers']).items()
    if has_mlm or not name.startswith('cls.')
  }
  ours = {name.replace('uniter.', prefix): x for name, x in release.items()}
  ours[prefix + POSITION_IDS] = np.arange(6)[None]
  return ours, release


def _read(weights, tmp_path):
  path = tmp_path / 'weights.safetensors'
  safetensors_numpy.save_file(weights, path)
  return bert.read(path)


def _check_same(found, expected):
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
  'prefix, wrapper',
  [
    ('bert.', ''),
    ('', ''),
    ('0.auto_model.', ''),
    ('bert.', 'module.'),
    ('bert.', 'model.'),
  ],
)
def test_layouts_of_one_network(prefix, wrapper, tmp_path):
  weights, expected = _make(prefix)
  found = _read({wrapper + n: x for n, x in weights.items()}, tmp_path)
  _check_same(found.weights, expected)
  assert found.sizes == SIZES
  assert found.dropped == (POSITION_IDS,)
  assert found.wrapper == wrapper + prefix


def test_names_of_2018(tmp_path):
  weights, expected = _make()
  old = {
    name.replace('Norm.weight', 'Norm.gamma').replace(
      'Norm.bias', 'Norm.beta'
    ): x
    for name, x in weights.items()
  }
  assert old.keys() != weights.keys()
  _check_same(_read(old, tmp_path).weights, expected)


def test_a_decoder_is_kept_for_comparison_and_its_bias_is_the_heads(tmp_path):
  weights, expected = _make()
  decoder = name_rules.TIED[0]
  weights[decoder] = weights['bert.embeddings.word_embeddings.weight'].copy()
  weights['cls.predictions.decoder.bias'] = weights.pop('cls.predictions.bias')
  found = _read(weights, tmp_path)
  _check_same(found.weights, expected | {decoder: weights[decoder]})
  weights['cls.predictions.bias'] = weights['cls.predictions.decoder.bias'] + 1
  with pytest.raises(errors.UserError, match='two names of one parameter'):
    _read(weights, tmp_path)


def test_heads_that_are_missing_or_of_no_use(tmp_path):
  weights, expected = _make(has_mlm=False)
  more = {
    'cls.seq_relationship.weight': np.zeros((2, 8), np.float32),
    'classifier.bias': np.zeros(3, np.float32),
    # An MLM head without its transform.
    'cls.predictions.bias': np.zeros(11, np.float32),
  }
  found = _read(weights | more, tmp_path)
  _check_same(found.weights, expected)
  assert set(found.dropped) == {POSITION_IDS, *more}
  for name in list(weights):
    if 'pooler' in name:
      del weights[name], expected[name.replace('bert.', 'uniter.')]
  _check_same(_read(weights, tmp_path).weights, expected)


def _without(weights, name):
  return {key: x for key, x in weights.items() if key != name}


@pytest.mark.parametrize(
  'change, message',
  [
    (
      lambda w: {n.replace('bert.', 'roberta.'): x for n, x in w.items()},
      'contains RoBERTa, judging by roberta.',
    ),
    (lambda w: {'lm_head.bias': np.zeros(2)} | w, 'contains RoBERTa, judging'),
    (
      lambda w: {'distilbert.transformer.layer.0.ffn.lin1.bias': np.zeros(2)},
      'contains DistilBERT',
    ),
    (
      lambda w: {'encoder.albert_layer_groups.0.a': np.zeros(2)},
      'contains ALBERT',
    ),
    (lambda w: {'electra.embeddings_project.bias': np.zeros(2)}, 'ELECTRA'),
    (
      lambda w: (
        w
        | {
          'bert.encoder.layer.0.attention.self.distance_embedding.weight': (
            np.zeros((3, 2), np.float32)
          )
        }
      ),
      'contains BERT with relative positions',
    ),
    (
      lambda w: (
        w
        | {
          'bert.embeddings.word_embeddings.weight': np.ones((11, 4), np.float32)
        }
      ),
      'the word embedding has 4 numbers per word, the encoder 8',
    ),
    (
      lambda w: (
        w
        | {
          'bert.embeddings.token_type_embeddings.weight': np.ones(
            (1, 8), np.float32
          )
        }
      ),
      'has one token type, as RoBERTa does',
    ),
    (
      lambda w: _without(w, 'bert.encoder.layer.1.output.dense.bias'),
      r'1 missing \(encoder.layer.1.output.dense.bias\)',
    ),
    (
      lambda w: _without(w, 'bert.pooler.dense.bias'),
      r'1 missing \(pooler.dense.bias\)',
    ),
    (
      lambda w: w | {'bert.other': np.zeros(2, np.float32)},
      r'1 unknown \(other\)',
    ),
    (
      lambda w: w | {'bert.pooler.dense.bias': np.zeros(7, np.float32)},
      r'pooler.dense.bias is \[7\], expected \[8\]',
    ),
    (
      lambda w: w | {'bert.pooler.dense.bias': np.zeros(8, np.int32)},
      'pooler.dense.bias is int32',
    ),
    (
      lambda w: {'conv1.weight': np.zeros(3)},
      'parameters of BERT, got conv1.weight ...',
    ),
  ],
)
def test_what_is_refused(change, message, tmp_path):
  weights, _ = _make()
  with pytest.raises(errors.UserError, match=message) as caught:
    _read(change(weights), tmp_path)
  assert '\n' not in str(caught.value)
  assert 'weights.safetensors' in str(caught.value)


def test_a_folder_stands_for_its_weights(tmp_path):
  with pytest.raises(errors.UserError, match='must contain model.safetensors'):
    bert.find(tmp_path)
  (tmp_path / 'pytorch_model.bin').touch()
  assert bert.find(tmp_path) == (tmp_path / 'pytorch_model.bin', None)
  (tmp_path / 'model.safetensors').touch()
  (tmp_path / 'config.json').touch()
  expected = tmp_path / 'model.safetensors', tmp_path / 'config.json'
  assert bert.find(tmp_path) == expected
  assert bert.find(tmp_path / 'model.safetensors') == expected


@pytest.mark.parametrize(
  'content, message',
  [
    ({'model_type': 'roberta'}, 'model_type must be "bert", got "roberta"'),
    (
      {'position_embedding_type': 'relative_key'},
      'must be "absolute", got "relative_key"',
    ),
    ({'is_decoder': True}, 'is_decoder must be false, got true'),
    (
      {'embedding_size': 128, 'hidden_size': 768},
      'embedding_size must be hidden_size 768, as in BERT, got 128',
    ),
  ],
)
def test_configs_of_other_networks_are_refused(content, message, tmp_path):
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(content))
  with pytest.raises(errors.UserError, match=message):
    bert.check_config(path)


def test_configs_of_bert_pass(tmp_path):
  path = tmp_path / 'config.json'
  path.write_text('{"model_type": "bert", "layer_norm_eps": 1e-12}')
  assert bert.check_config(path) == []
  path.write_text('{"layer_norm_eps": 1e-05}')
  assert 'layer_norm_eps is 1e-05' in bert.check_config(path)[0]
  path.write_text('[]')  # `model_config.read` says what is wrong.
  assert bert.check_config(path) == []
