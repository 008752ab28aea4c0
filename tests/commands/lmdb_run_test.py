"""From LMDB folders to a ranked split, by the commands that people type."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from tagsdc_jax import errors, main, settings
from tagsdc_jax.commands import evaluate
from tagsdc_jax.data import opening
from tagsdc_jax.training import checkpoints, head_init

TOY = Path(__file__).parents[1] / 'golden' / 'recordings' / 'lmdb'
STORE = 'img_db/toy/feat_th0.2_max100_min10'
TEXT = 'txt_db/itm_toy.db'
DATA = [
  f'--config.data.root={TOY}',
  f"--config.data.train_text=('{TEXT}',)",
  f"--config.data.train_images=('{STORE}',)",
  *(
    f'--config.data.{split}_{what}={value}'
    for split in ('validation', 'test')
    for what, value in (('text', TEXT), ('images', STORE))
  ),
]
SMALL = [
  '--config.model.num_layers=1',
  '--config.model.hidden_size=16',
  '--config.model.num_heads=2',
  '--config.model.intermediate_size=32',
  '--config.model.max_positions=64',
  '--config.batch.positives=4',
  '--config.num_updates=2',
  '--config.optimizer.warmup_updates=1',
  '--config.negatives.num_in_batch=2',
  '--config.num_devices=1',
  '--config.compute.num_score_buckets=1',
  '--config.compute.num_gradient_buckets=1',
  '--config.evaluation.num_buckets=2',
]


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp('lmdb') / 'run'
  assert (
    main.main(
      [
        'train',
        '--config',
        'own_small_pretrain',
        '--run-dir',
        str(path),
        *DATA,
        *SMALL,
      ]
    )
    == 0
  )
  return path


def test_prepare_tells_what_is_there(capsys):
  assert main.main(['prepare', '--config', 'own_small_tags', *DATA]) == 0
  shown = capsys.readouterr().out
  assert shown.count('12 images, 60 captions') == 3
  assert '24 numbers per region' in shown


def test_train_and_evaluate(run_dir, tmp_path, capsys):
  results = json.loads((run_dir / 'results.json').read_text())
  assert results['updates'] == 2
  config = json.loads((run_dir / 'config.json').read_text())['settings']
  assert config['model.vocab_size'] == 211
  assert config['model.feature_size'] == 24
  # One folder for all splits, which the table must not hide.
  everything = {'images': 12, 'captions': 60}
  assert results['in_train'] == {'validation': everything, 'test': everything}
  out, scores = tmp_path / 'result.json', tmp_path / 'scores.npy'
  newest = run_dir / 'checkpoints' / 'newest' / '2'
  assert (
    main.main(
      ['evaluate', str(newest), '--json', str(out), '--scores', str(scores)]
    )
    == 0
  )
  assert (
    'test (itm_toy.db): 12 of 12 images (the first is '
    'flickr30k_000000000011.npz) and 60 of 60 captions'
    in capsys.readouterr().out
  )
  again = json.loads(out.read_text())
  assert again['in_train'] == everything
  for way in ('image_retrieval', 'text_retrieval'):
    assert again[way] == results['evaluation'][way]
  matrix = np.load(scores)
  assert matrix.shape == (60, 12) and matrix.dtype == np.float32


@pytest.fixture(name='toy')
def _toy():
  return settings.Data(
    source='uniter_lmdb',
    root=str(TOY),
    train_text=(TEXT,),
    train_images=(STORE,),
    test_text=TEXT,
    test_images=STORE,
  )


def _settings(data, **changes):
  return settings.Settings(data=dataclasses.replace(data, **changes))


@pytest.mark.parametrize(
  'gone',
  [
    {'train_text': ('txt_db/gone.db',)},
    {'train_images': ('img_db/gone',)},
    {'train_text': ()},
    {'train_text': (TEXT, TEXT)},
  ],
)
def test_training_data_that_is_gone_is_not_checked(gone, toy, capsys):
  data = opening.open_split(toy, 'test')
  found = evaluate._in_train(_settings(toy, **gone), 'test', data)
  assert found == {'in_train': None}
  shown = capsys.readouterr().out
  assert shown.startswith('itm_toy.db: cannot check for overlap with train: ')
  assert shown.count('\n') == 1


def test_the_training_split_itself_is_not_checked(toy):
  assert evaluate._in_train(_settings(toy), 'train', None) == {}


def test_another_vocabulary_than_in_training(toy):
  data = opening.open_split(toy, 'test')
  other = dataclasses.replace(
    data,
    vocabulary=dataclasses.replace(
      data.vocabulary, tokenizer='bert-base-uncased'
    ),
  )
  with pytest.raises(
    errors.UserError,
    match='its tokenizer is toy-wordpiece and bert-base-uncased',
  ):
    evaluate._in_train(_settings(toy), 'test', other)


def _ranked(checkpoint, out, *flags):
  assert (
    main.main(
      [
        'evaluate',
        str(checkpoint),
        '--scores',
        str(out),
        '--json',
        str(out.with_suffix('.json')),
        *flags,
      ]
    )
    == 0
  )
  return np.load(out), json.loads(out.with_suffix('.json').read_text())


def test_quirks_of_evaluation(run_dir, tmp_path):
  loaded = checkpoints.load(run_dir / 'checkpoints' / 'newest' / '2')
  # As if stage 1 had trained its head: another one than the match row.
  trained = jax.tree.map(np.array, loaded.parameters)
  trained['rank_output'] = {
    'kernel': np.ones((16, 1), np.float32),
    'bias': np.zeros(1, np.float32),
  }
  lost = head_init.reset_rank_head(trained)
  about = loaded.about | {
    'phase': 'tags',
    'settings': loaded.about['settings']
    | {'phase': 'tags', 'negatives.num_hard': 2},
  }
  paths = {}
  for name, parameters in (('trained', trained), ('lost', lost)):
    paths[name] = tmp_path / name
    checkpoints.export(paths[name], parameters, about)
  plain, _ = _ranked(paths['trained'], tmp_path / 'plain.npy')
  wanted, counted = _ranked(paths['lost'], tmp_path / 'wanted.npy')
  found, released = _ranked(
    paths['trained'],
    tmp_path / 'found.npy',
    '--config.quirks.untrained_rank_head=true',
    '--config.quirks.overcounted_recall=true',
  )
  np.testing.assert_array_equal(found, wanted)
  assert np.max(np.abs(plain - wanted)) > 0.1
  # Of the first ten captions some have their image among the first ten.
  assert released['image_retrieval']['r10'] > counted['image_retrieval']['r10']
  assert released['text_retrieval'] == counted['text_retrieval']


def test_report_without_pictures_and_oracle(run_dir, capsys):
  assert main.main(['report', str(run_dir)]) == 0
  path = run_dir / 'report.html'
  assert capsys.readouterr().out.strip() == str(path)
  page = path.read_text('utf-8')
  assert 'against all 60 captions of the split' in page
  # Six pictures and four captions, of boxes alone.
  assert page.count('class="frame empty"') == 10 and '<img' not in page
  assert '<mark>[' in page  # No vocabulary: ids stand for words.
  assert 'Oracle' not in page and 'What the oracle' not in page


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['evaluate', 'no/such/run'], 'no/such/run must be a run folder'),
    (
      ['prepare', '--config', 'own_small_tags', '--config.data.root=no/such'],
      'is missing',
    ),
    (
      [
        'train',
        '--config',
        'own_small_tags',
        '--run-dir',
        'RUN',
        '--config.init_from=fresh',
        *DATA,
      ],
      'negatives.pool_size = 15 and batch.positives = 4 need 19 images',
    ),
    (
      [
        'train',
        '--config',
        'own_small_pretrain',
        '--run-dir',
        'RUN',
        *DATA,
        *SMALL,
        '--config.seed=7',
      ],
      'belongs to a run with other settings',
    ),
  ],
)
def test_bad_input_is_one_line(arguments, message, run_dir, capsys):
  arguments = [str(run_dir) if a == 'RUN' else a for a in arguments]
  assert main.main(arguments) == 2
  shown = capsys.readouterr().err.strip().splitlines()
  assert len(shown) == 1 and message in shown[0]
