"""Tests of a start from BERT: the same outputs, and a run that goes on."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tagsdc_jax import errors, main, settings
from tagsdc_jax.models import heads, retrieval
from tagsdc_jax.runs import setup, starting
from tagsdc_jax.runtime import hashing
from tagsdc_jax.training import checkpoints
from tests import tiny

WORDS = 50
FRESH = {'image_embeddings', *heads.NAMES} - {'pooler', 'mlm_output'}


def _config(**changes):
  transformers = pytest.importorskip('transformers')
  pytest.importorskip('torch')
  return transformers.BertConfig(
    **{
      'vocab_size': WORDS,
      'hidden_size': 16,
      'num_hidden_layers': 3,
      'num_attention_heads': 4,
      'intermediate_size': 32,
      'max_position_embeddings': 12,
      # Larger than usual, so that every part has a visible effect.
      'initializer_range': 0.4,
    }
    | changes
  )


def _network(kind, **changes):
  import torch
  import transformers

  config = _config(**changes)
  torch.manual_seed(0)
  network = getattr(transformers, kind)(config).eval()
  with torch.no_grad():
    for parameter in network.parameters():  # Biases start at 0.
      parameter.add_(0.1 * torch.randn(parameter.shape))
  return network


def _convert(folder, out, *flags):
  assert main.main(['convert', str(folder), str(out), '--start', *flags]) == 0
  return checkpoints.load(out)


def _outputs(loaded, token_ids, mask):
  """Returns our states, pooled states and MLM logits of texts alone."""
  config = checkpoints.settings_of(loaded)
  model = setup.make_model(config)

  def apply(method, *inputs, **options):
    return retrieval.apply(model, loaded.parameters, method, *inputs, **options)

  states = apply(
    'encode',
    apply('embed_text', token_ids),
    mask,
    num_outputs=token_ids.shape[1],
  )
  has = loaded.parameters.keys()
  return (
    states,
    apply('pooled', states) if 'pooler' in has else None,
    apply('mlm_logits', states) if 'mlm_output' in has else None,
  )


def _texts():
  rng = np.random.default_rng(1)
  token_ids = rng.integers(1, WORDS, (4, 9)).astype(np.int32)
  mask = np.arange(9)[None] < np.array([[9], [5], [2], [7]])
  return np.where(mask, token_ids, 0), mask


@pytest.mark.parametrize('layers', [1, 3])
def test_states_and_pooler_are_those_of_transformers(layers, tmp_path):
  network = _network('BertModel', num_hidden_layers=layers)
  import torch

  network.save_pretrained(tmp_path / 'bert')
  loaded = _convert(tmp_path / 'bert', tmp_path / 'ours')
  assert set(loaded.about[checkpoints.FRESH]) == FRESH | {'mlm_output'}
  token_ids, mask = _texts()
  with torch.no_grad():
    expected = network(
      torch.tensor(token_ids).long(), attention_mask=torch.tensor(mask).long()
    )
  states, pooled, _ = _outputs(loaded, token_ids, mask)
  np.testing.assert_allclose(
    states[mask], expected.last_hidden_state.numpy()[mask], atol=1e-5
  )
  np.testing.assert_allclose(pooled, expected.pooler_output.numpy(), atol=1e-5)


@pytest.mark.parametrize('kind', ['BertForMaskedLM', 'BertForPreTraining'])
def test_word_logits_are_those_of_transformers(kind, tmp_path, capsys):
  network = _network(kind)
  import torch

  network.save_pretrained(tmp_path / 'bert')
  loaded = _convert(tmp_path / 'bert', tmp_path / 'ours')
  shown = capsys.readouterr().out
  token_ids, mask = _texts()
  with torch.no_grad():
    expected = network(
      torch.tensor(token_ids).long(), attention_mask=torch.tensor(mask).long()
    )
  _, _, logits = _outputs(loaded, token_ids, mask)
  found = getattr(expected, 'logits', None)
  found = expected.prediction_logits if found is None else found
  np.testing.assert_allclose(logits[mask], found.numpy()[mask], atol=1e-5)
  # The first has no pooler; the second predicts the next sentence besides.
  has_pooler = kind == 'BertForPreTraining'
  assert ('pooler' in loaded.about[checkpoints.FRESH]) != has_pooler
  assert ('skipped, not used here: cls.seq_rel' in shown) == has_pooler


def test_the_lines_and_the_settings(tmp_path, capsys):
  _network('BertModel').save_pretrained(tmp_path / 'bert')
  loaded = _convert(tmp_path / 'bert', tmp_path / 'ours')
  shown = capsys.readouterr().out.splitlines()
  assert 'model.safetensors: BERT, 55 tensors, num_layers 3, hidden' in shown[0]
  assert shown[0].endswith(f'num_token_types 2, vocab_size {WORDS}')
  assert shown[1].startswith('num_heads 4, from ')
  assert shown[-1].endswith(
    '--config.model.num_layers=3 --config.model.hidden_size=16 '
    '--config.model.num_heads=4 --config.model.intermediate_size=32 '
    '--config.model.max_positions=12 --config.model.num_token_types=2'
  )
  config = checkpoints.settings_of(loaded)
  assert (config.phase, config.init_from) == ('pretrain', '')
  assert (config.model.vocab_size, config.model.feature_size) == (WORDS, 0)
  again = _convert(tmp_path / 'bert', tmp_path / 'again')
  assert hashing.parameters_sha256(again.parameters) == (
    hashing.parameters_sha256(loaded.parameters)
  )


def test_torch_files_are_converted_too(tmp_path):
  network = _network('BertModel')
  import torch

  torch.save(network.state_dict(), tmp_path / 'bert.bin')
  flags = ['--num-heads', '4']
  found = _convert(tmp_path / 'bert.bin', tmp_path / 'a', *flags)
  network.save_pretrained(tmp_path / 'bert')
  expected = _convert(tmp_path / 'bert', tmp_path / 'b')
  assert hashing.parameters_sha256(found.parameters) == (
    hashing.parameters_sha256(expected.parameters)
  )


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['bert', 'new', '--num-heads', '5'], '--num-heads is 5, but bert/config'),
    (['alone.safetensors', 'new'], 'hidden_size 16 is not that of a BERT with'),
    (['bert', 'new.pt'], 'new.pt is the name of a weight file'),
    (['bert', 'bert'], 'bert already exists'),
    (['empty', 'new'], 'empty must contain model.safetensors or pytorch_model'),
    (['none', 'new'], 'none is missing'),
    (['other', 'new'], 'other/config.json: model_type must be "bert", got "ro'),
    (
      ['relu', 'new'],
      "hidden_act must be gelu, the only one supported, got 'r",
    ),
    (
      ['bert', 'new', '--model-config', 'big.json'],
      'num_layers is 3 in bert/model.safetensors, 7 in big.json',
    ),
  ],
)
def test_an_error_is_one_line_and_leaves_nothing(
  arguments, message, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  _network('BertModel').save_pretrained('bert')
  config = json.loads((tmp_path / 'bert' / 'config.json').read_text())
  for name, change in (
    ('other', {'model_type': 'roberta'}),
    ('relu', {'hidden_act': 'relu'}),
    ('empty', None),
  ):
    (tmp_path / name).mkdir()
    if change:
      place = tmp_path / name
      (place / 'config.json').write_text(json.dumps(config | change))
      (place / 'model.safetensors').symlink_to('../bert/model.safetensors')
  (tmp_path / 'big.json').write_text(
    json.dumps(config | {'num_hidden_layers': 7})
  )
  (tmp_path / 'alone.safetensors').symlink_to('bert/model.safetensors')
  before = sorted(tmp_path.rglob('*'))
  capsys.readouterr()
  assert main.main(['convert', *arguments, '--start']) == 2
  shown = capsys.readouterr().err.splitlines()
  assert message in shown[-1] and shown[-1].startswith('tagsdc convert: ')
  assert sorted(tmp_path.rglob('*')) == before


def test_a_start_cannot_rank_and_cannot_go_back(tmp_path, capsys):
  _network('BertModel').save_pretrained(tmp_path / 'bert')
  _convert(tmp_path / 'bert', tmp_path / 'ours')
  back = tmp_path / 'back.safetensors'
  assert main.main(['convert', str(tmp_path / 'ours'), str(back)]) == 2
  assert 'it is for starting a training run; pass it as --config.init_from' in (
    capsys.readouterr().err
  )


@pytest.mark.parametrize('phase', settings.PHASES)
def test_a_run_initializes_the_rest_with_its_seed(phase, tmp_path, world_dir):
  config = tiny.make_settings(phase, world_dir)
  data, _ = tiny.open_train(world_dir)
  network = _network(
    'BertForPreTraining',
    vocab_size=data.vocabulary.size,
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=32,
  )
  network.save_pretrained(tmp_path / 'bert')
  loaded = _convert(tmp_path / 'bert', tmp_path / 'ours')
  task = tiny.make_task(
    dataclasses.replace(config, init_from=str(tmp_path / 'ours'))
  )
  _, fresh = tiny.make_state(task)
  params = starting.start_phase(task, fresh).params
  for part in ('text_embeddings', 'encoder', 'pooler', 'mlm_output'):
    jax.tree.map(
      np.testing.assert_array_equal, params[part], loaded.parameters[part]
    )
  for part in ('image_embeddings', 'itm_output'):
    jax.tree.map(
      np.testing.assert_array_equal, params[part], fresh.params[part]
    )
  if phase != 'pretrain':
    np.testing.assert_array_equal(
      params['rank_output']['kernel'][:, 0],
      fresh.params['itm_output']['kernel'][:, 1],
    )
  if phase == 'dc':
    jax.tree.map(
      np.testing.assert_array_equal,
      params['correction_output'],
      loaded.parameters['mlm_output'],
    )


def test_a_start_of_another_vocabulary_is_refused(tmp_path, world_dir):
  _network(
    'BertModel',
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=32,
  ).save_pretrained(tmp_path / 'bert')
  _convert(tmp_path / 'bert', tmp_path / 'ours')
  config = tiny.make_settings(
    'pretrain', world_dir, init_from=str(tmp_path / 'ours')
  )
  task = tiny.make_task(config)
  _, fresh = tiny.make_state(task)
  size = tiny.open_train(world_dir)[0].vocabulary.size
  with pytest.raises(
    errors.UserError,
    match=f'expect a vocabulary of {WORDS} tokens, but that of the data has '
    f'{size}; tokenize',
  ):
    starting.start_phase(task, fresh)
