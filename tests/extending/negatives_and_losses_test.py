"""A user's negatives and losses, by their names in a config."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tagsdc_jax import main, settings
from tests import tiny

HERE = Path(__file__).parent
_OWN = {
  'negatives and a loss': (
    {
      'negatives.sources': ('images', 'my_negatives:neighbors', 'mask_refill'),
      'losses.pairs': ('my_losses:logistic', 'discrimination'),
    },
    [
      'loss/logistic_images',
      'loss/logistic_neighbors',
      'loss/discrimination_neighbors',
      'loss/mlm',
      'loss/logistic_mask_refill',
      'neighbors_accuracy',
    ],
  ),
  'a coupled loss': (
    {
      'losses.pairs': ('my_losses:contrastive',),
      'negatives.sources': ('images', 'texts', 'word_swap'),
      'compute.engine': 'padded',
    },
    ['loss/contrastive'],
  ),
}


def _folder(tmp_path, world_dir, changes):
  """Writes a config file with the user's files beside it."""
  for name in ('my_negatives.py', 'my_losses.py'):
    shutil.copy(HERE / name, tmp_path)
  config = tiny.make_settings('dc', world_dir, num_devices=1)
  config = settings.from_flat(settings.flatten(config) | changes)
  tiny.write_config(
    tmp_path / 'mine.py', dataclasses.replace(config, extensions='')
  )
  return str(tmp_path / 'mine.py')


def _results(run_dir):
  return json.loads((run_dir / 'results.json').read_text('utf-8'))


@pytest.mark.parametrize('name', _OWN)
def test_from_config_to_page(name, tmp_path, world_dir, shared_updates):
  changes, names = _OWN[name]
  path = _folder(tmp_path, world_dir, changes)
  run, stopped = tmp_path / 'run', tmp_path / 'stopped'
  command = ['train', '--config', path, '--run-dir']
  assert main.main([*command, str(run)]) == 0
  assert main.main([*command, str(stopped), '--config.stop_at_update=2']) == 0
  assert main.main([*command, str(stopped)]) == 0
  assert (
    _results(stopped)['parameters_sha256'] == _results(run)['parameters_sha256']
  )
  lines = [
    json.loads(line)
    for line in (run / 'metrics.jsonl').read_text('utf-8').splitlines()
  ]
  trained = [line for line in lines if line['kind'] == 'train']
  assert len(trained) == 4
  for metric in names:
    assert all(line[metric] > 0 for line in trained), metric
  assert main.main(['report', str(run)]) == 0
  page = (run / 'report.html').read_text('utf-8')
  for metric in names:
    if 'logistic' in metric or 'contrastive' in metric:
      assert metric.removeprefix('loss/').replace('_', ' ') in page
  assert main.main(['evaluate', str(run)]) == 0


_HEAD = (
  'import jax, jax.numpy as jnp\n'
  'from tagsdc_jax.losses.pair_losses import PairLoss\n'
)


def _loss(body, options=''):
  return (
    f'{_HEAD}def mine(config):\n  def loss(positive, negative):\n'
    f'    return {body}\n  return PairLoss("mine", loss{options})\n'
  )


@pytest.mark.parametrize(
  'content, setting, message',
  [
    ('', 'losses.pairs', 'defines no mine'),
    ('mine = 3', 'losses.pairs', 'a PairLoss or a function, got int'),
    ('mine = 3', 'negatives.sources', 'a Source or a function, got int'),
    ('raise SystemExit', 'losses.pairs', 'line 1 cannot be run: SystemExit'),
    (
      'def mine(inputs):\n  return 3 if inputs.batch.number else 4',
      'negatives.sources',
      'line 2: TracerBoolConversionError: Attempted boolean conversion of '
      'traced array with shape int32[].',
    ),
    (
      'import dataclasses\nfrom tagsdc_jax.negatives import word_swap\n'
      'def mine(inputs):\n  return dataclasses.replace('
      'word_swap.word_swap(inputs), is_valid=True)',
      'negatives.sources',
      'is_valid must be bool [3, candidates], got bool',
    ),
    (
      _HEAD + 'def mine(config):\n  return 3',
      'losses.pairs',
      'a PairLoss or a function that returns one, got int',
    ),
    (
      _loss('negative.logits - positive.logits'),
      'losses.pairs',
      'must not be negative',
    ),
    (_loss('negative.probs.sum()'), 'losses.pairs', 'one number per pair'),
    (
      _loss('jax.nn.softmax(negative.logits)'),
      'losses.pairs',
      'the loss of a pair depends on other pairs; declare is_coupled=True',
    ),
    (
      _loss(
        'jnp.abs(negative.probs) * 0 + jnp.where(negative.probs > 2, 1, '
        'negative.probs - jax.lax.stop_gradient(negative.probs))'
      ),
      'losses.pairs',
      'its gradient must be 0 where it is 0',
    ),
    (
      _loss('negative.probs', ', heads=("my_head",)'),
      'losses.pairs',
      'heads must be some of pooler, rank_output',
    ),
    (
      _loss('negative.probs', ', is_coupled=True'),
      'losses.pairs',
      'which compute.engine=packed cannot do',
    ),
    (_loss('negative.nothing'), 'losses.pairs', "AttributeError: 'Match'"),
    (
      'def mine(inputs):\n  return 3',
      'negatives.sources',
      'must return source.Sentences, got int',
    ),
    (
      'def mine(inputs):\n  return inputs.nothing',
      'negatives.sources',
      "line 2: AttributeError: 'Inputs'",
    ),
    (
      'import dataclasses\nfrom tagsdc_jax.negatives import word_swap\n'
      'def mine(inputs):\n  return dataclasses.replace('
      'word_swap.word_swap(inputs), is_valid=inputs.batch.texts.token_ids > 0)',
      'negatives.sources',
      'num_tokens must be int32 [3, ',
    ),
  ],
)
def test_bad_files_are_one_line(
  content, setting, message, tmp_path, world_dir, capsys
):
  (tmp_path / 'bad.py').write_text(content, 'utf-8')
  names = ('bad:mine',) if setting == 'losses.pairs' else ('images', 'bad:mine')
  path = _folder(tmp_path, world_dir, {setting: names})
  assert (
    main.main(['train', '--config', path, '--run-dir', str(tmp_path / 'run')])
    == 2
  )
  shown = capsys.readouterr().err.strip().splitlines()
  assert setting in shown[-1] and message in shown[-1], shown


def test_two_of_a_name(tmp_path, world_dir, capsys):
  path = _folder(
    tmp_path, world_dir, {'negatives.sources': ('images', 'texts', 'images')}
  )
  assert (
    main.main(['train', '--config', path, '--run-dir', str(tmp_path / 'run')])
    == 2
  )
  assert (
    'two sources named images; remove or rename one' in capsys.readouterr().err
  )
