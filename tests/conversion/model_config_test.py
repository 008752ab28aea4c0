"""Tests of the release's model config."""

import json

import pytest

from tagsdc_jax import errors
from tagsdc_jax.conversion import model_config
from tests.golden import reading


def test_recorded_file():
  assert model_config.read(reading.path_of('model_config.json')) == {
    'vocab_size': 211,
    'hidden_size': 48,
    'num_layers': 3,
    'num_heads': 4,
    'intermediate_size': 96,
    'max_positions': 64,
    'num_token_types': 2,
    'dropout_rate': 0.1,
    'initializer_range': 0.02,
  }


def test_heads_alone_will_do(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"num_attention_heads": 8, "layer_norm_eps": 1e-12}')
  assert model_config.read(path) == {'num_heads': 8}


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'num_attention_heads': '4'},
      "must be a whole number from 1 to 1024, got '4",
    ),
    (
      {'hidden_size': 0},
      'hidden_size must be a whole number from 1 to 65536, got 0',
    ),
    ({'num_hidden_layers': True}, 'whole number from 1 to 1024, got True'),
    ({'hidden_act': 'relu'}, "hidden_act must be gelu, .* got 'relu'"),
    ({'hidden_dropout_prob': 0.2}, 'must be equal, got 0.2 and 0.1'),
    (
      {'initializer_range': 'small'},
      "must be a number from 1e-06 to 10, got 'small'",
    ),
  ],
)
def test_what_we_do_not_have(changes, message, tmp_path):
  good = json.loads(reading.path_of('model_config.json').read_text())
  path = tmp_path / 'a.json'
  path.write_text(json.dumps(good | changes))
  with pytest.raises(errors.UserError, match=message):
    model_config.read(path)


@pytest.mark.parametrize(
  'content, message',
  [
    (b'', 'must be a JSON file'),
    (b'\xff\xfe\x80', 'must be a JSON file'),
    (b'[1]', 'must contain num_attention_heads'),
    (b'{"hidden_size": 4}', 'must contain num_attention_heads'),
    (None, 'cannot be read: No such file'),
  ],
)
def test_something_else(content, message, tmp_path):
  path = tmp_path / 'a.json'
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(errors.UserError, match=message):
    model_config.read(path)
