"""Tests of `tagsdc convert`, from recorded files to ranked captions."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tagsdc_jax import main, settings
from tagsdc_jax.conversion import name_rules, reading
from tagsdc_jax.runtime import hashing
from tagsdc_jax.training import checkpoints
from tests.golden import reading as golden

TOY = golden.path_of('lmdb')
CONFIG = ['--model-config', str(golden.path_of('model_config.json'))]
# The recorded columns, as parts of the images' names.
COLUMNS = (
  '18',
  '25',
  '32',
  '81',
  '60',
  '67',
  '88',
  '74',
  '46',
  '53',
  '39',
  '11',
)


def _source(name):
  if name.endswith('.pt'):
    pytest.importorskip('torch')
  return golden.path_of(name)


def _run(*arguments):
  assert main.main(['convert', *map(str, arguments)]) == 0


@pytest.mark.parametrize('target', ['back.pt', 'back.safetensors'])
@pytest.mark.parametrize(
  'name, phase, num_tensors',
  [
    ('checkpoint_stage1.pt', 'tags', 76),
    ('checkpoint_stage1.safetensors', 'tags', 76),
    ('checkpoint_stage2.safetensors', 'dc', 84),
    ('pretrained_like.safetensors', 'pretrain', 74),
  ],
)
def test_there_and_back_to_the_last_bit(
  name, phase, num_tensors, target, tmp_path, capsys
):
  source = _source(name)
  if target.endswith('.pt'):
    pytest.importorskip('torch')
  _run(source, tmp_path / 'ours', *CONFIG)
  shown = capsys.readouterr().out
  assert f'{num_tensors} tensors, num_layers 3, hidden_size 48' in shown
  assert 'num_heads 4, from ' in shown
  loaded = checkpoints.load(tmp_path / 'ours')
  assert loaded.about['phase'] == phase and loaded.about['update'] == 0
  assert checkpoints.settings_of(loaded).model == settings.Model(
    num_layers=3,
    hidden_size=48,
    num_heads=4,
    intermediate_size=96,
    max_positions=64,
    vocab_size=211,
    feature_size=24,
  )
  _run(tmp_path / 'ours', tmp_path / target)
  before, after = reading.read(source), reading.read(tmp_path / target)
  dropped = {key for key in before if key.startswith(name_rules.DROPPED)}
  assert after.keys() == before.keys() - dropped and len(after) == num_tensors
  for key, array in after.items():
    assert array.tobytes() == before[key].tobytes(), key
    assert array.shape == before[key].shape and array.dtype == np.float32
  assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
    [target, 'ours']
  )


def test_old_names_and_dropped_heads(tmp_path, capsys):
  _run(_source('pretrained_like_oldstyle.pt'), tmp_path / 'old', *CONFIG)
  shown = capsys.readouterr().out
  assert '12 tensors of heads that only pretraining uses: feat_regress' in shown
  assert 'region_classifier.net.3.weight' in shown
  _run(_source('pretrained_like.safetensors'), tmp_path / 'new', *CONFIG)
  old, new = (checkpoints.load(tmp_path / name) for name in ('old', 'new'))
  assert hashing.parameters_sha256(old.parameters) == hashing.parameters_sha256(
    new.parameters
  )


def test_heads_of_later_phases_start_as_those_do(tmp_path):
  _run(_source('pretrained_like.safetensors'), tmp_path / 'ours', *CONFIG)
  weights = reading.read(golden.path_of('pretrained_like.safetensors'))
  params = checkpoints.load(tmp_path / 'ours').parameters
  itm = weights['itm_output.weight']
  np.testing.assert_array_equal(params['rank_output']['kernel'][:, 0], itm[1])
  np.testing.assert_array_equal(params['disc_output']['kernel'], itm.T)
  np.testing.assert_array_equal(
    params['correction_output']['dense']['kernel'],
    weights['cls.predictions.transform.dense.weight'].T,
  )


def test_a_converted_checkpoint_scores_as_the_release_does(tmp_path, capsys):
  text = 'txt_db/itm_toy.db'
  images = 'img_db/toy/feat_th0.2_max100_min10'
  _run(
    _source('checkpoint_stage1.safetensors'),
    tmp_path / 'ours',
    *CONFIG,
    '--config',
    'own_small_tags',
    f'--config.data.root={TOY}',
    f'--config.data.test_text={text}',
    f'--config.data.test_images={images}',
    '--config.compute.num_score_buckets=1',
    '--config.compute.num_gradient_buckets=1',
    '--config.num_devices=1',
  )
  assert (
    main.main(
      [
        'evaluate',
        str(tmp_path / 'ours'),
        '--scores',
        str(tmp_path / 'scores.npy'),
      ]
    )
    == 0
  )
  assert 'update 0' in capsys.readouterr().out
  scores = np.load(tmp_path / 'scores.npy')
  ours = sorted(COLUMNS)  # Images come by name.
  recorded = golden.load('evaluation.npz')['stage1/scores_f32']
  np.testing.assert_allclose(
    scores[:, [ours.index(column) for column in COLUMNS]],
    recorded,
    rtol=0,
    atol=2e-5,
  )


@pytest.fixture
def stage2(tmp_path):
  return tmp_path / 'weights.safetensors', reading.read(
    golden.path_of('checkpoint_stage2.safetensors')
  )


def test_half_precision_is_widened_and_said(stage2, tmp_path, capsys):
  path, weights = stage2
  half = {name: x.astype(np.float16) for name, x in weights.items()}
  safetensors_numpy.save_file(half, path)
  _run(path, tmp_path / 'ours', '--num-heads', 4)
  assert '84 tensors were float16: converted to float32 exactly' in (
    capsys.readouterr().out
  )
  _run(tmp_path / 'ours', tmp_path / 'back.safetensors')
  for name, array in reading.read(tmp_path / 'back.safetensors').items():
    np.testing.assert_array_equal(array, half[name].astype(np.float32))


def test_a_wrapper_is_taken_off_and_said(stage2, tmp_path, capsys):
  path, weights = stage2
  safetensors_numpy.save_file(
    {f'module.{name}': x for name, x in weights.items()}, path
  )
  _run(path, tmp_path / 'ours', *CONFIG)
  assert 'removed the prefix module. from all names' in (
    capsys.readouterr().out
  )
  _run(tmp_path / 'ours', tmp_path / 'back.safetensors')
  assert reading.read(tmp_path / 'back.safetensors').keys() == weights.keys()


@pytest.mark.parametrize(
  'dtype, value, message',
  [
    (
      np.float32,
      np.nan,
      'finite numbers only: rank_output.bias has 1 NaN among 1 values. ',
    ),
    (
      np.float16,
      np.inf,
      'finite numbers only: rank_output.bias has 1 infinite',
    ),
    (
      np.float64,
      1e39,
      'numbers in the range of float32, up to 3.4e38: rounded to it, '
      'rank_output.bias has 1 infinite among 1 values. Nothing was converted; '
      'pass',
    ),
  ],
)
def test_numbers_of_no_use_are_not_converted(
  stage2, tmp_path, capsys, dtype, value, message
):
  path, weights = stage2
  weights['rank_output.bias'] = np.array([value], dtype)
  safetensors_numpy.save_file(weights, path)
  assert main.main(['convert', str(path), str(tmp_path / 'ours'), *CONFIG]) == 2
  shown = capsys.readouterr().err.splitlines()
  assert f'must contain {message}' in shown[-1]
  assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_no_use_does_not_become_a_file(
  stage2, tmp_path, capsys
):
  path, weights = stage2
  safetensors_numpy.save_file(weights, path)
  _run(path, tmp_path / 'ours', *CONFIG)
  loaded = checkpoints.load(tmp_path / 'ours')
  loaded.parameters['pooler']['dense']['kernel'][0, :2] = np.inf
  checkpoints.export(tmp_path / 'bad', loaded.parameters, loaded.about)
  capsys.readouterr()
  assert (
    main.main(
      ['convert', str(tmp_path / 'bad'), str(tmp_path / 'back.safetensors')]
    )
    == 2
  )
  assert (
    'bad must contain finite numbers only: pooler/dense/kernel has 2 infinite '
    'among 2,304 values; pass an earlier'
  ) in capsys.readouterr().err
  assert not (tmp_path / 'back.safetensors').exists()


def test_tied_copies_that_differ_need_a_word(stage2, tmp_path, capsys):
  path, weights = stage2
  decoder = name_rules.TIED[0]
  weights[decoder] = weights[decoder] + 1
  safetensors_numpy.save_file(weights, path)
  arguments = ['convert', str(path), str(tmp_path / 'ours'), *CONFIG]
  assert main.main(arguments) == 2
  assert f'{decoder} differs from' in capsys.readouterr().err
  assert not (tmp_path / 'ours').exists()
  _run(*arguments[1:], '--tied', 'decoder')
  _run(tmp_path / 'ours', tmp_path / 'back.safetensors')
  back = reading.read(tmp_path / 'back.safetensors')
  for name in (name_rules.WORDS, *name_rules.TIED):
    np.testing.assert_array_equal(back[name], weights[decoder])


def test_heads_are_assumed_where_that_is_usual(tmp_path, capsys):
  rng = np.random.default_rng(0)
  sizes = {
    'hidden_size': 128,
    'intermediate_size': 8,
    'max_positions': 4,
    'num_token_types': 2,
    'vocab_size': 5,
    'feature_size': 3,
  }
  weights = {
    name: rng.normal(size=[sizes.get(n, n) for n in p.shape]).astype(np.float32)
    for name, p in name_rules.parameters('tags', 1).items()
  }
  weights[name_rules.TIED[0]] = weights[name_rules.WORDS]
  path = tmp_path / 'weights.safetensors'
  safetensors_numpy.save_file(weights, path)
  _run(path, tmp_path / 'ours')
  assert 'num_heads 2, assumed: hidden_size / 64' in capsys.readouterr().out
  config = checkpoints.settings_of(checkpoints.load(tmp_path / 'ours'))
  assert config.model.num_heads == 2 and config.phase == 'tags'
  assert config.data.source == 'auto'
  _run(tmp_path / 'ours', tmp_path / 'back.safetensors')
  back = reading.read(tmp_path / 'back.safetensors')
  assert back.keys() == weights.keys()
  assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_shipped_weights_become_a_file(tmp_path, capsys):
  target = tmp_path / 'world.safetensors'
  _run('shipped:world_pretrain', target)
  assert 'left out' in capsys.readouterr().out
  names = set(reading.read(target))
  assert {name.split('.')[0] for name in names} == {
    'uniter',
    'cls',
    'itm_output',
  }


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['none.pt', 'out'], 'none.pt is missing; pass a weight file'),
    (
      ['FILE', 'out'],
      'hidden_size 48 is not a multiple of 64; pass --model-con',
    ),
    (
      ['FILE', 'out', '--num-heads', '5'],
      'must be divisible by the number of attention heads, got 5',
    ),
    (['FILE', 'out', '--num-heads', '3', *CONFIG], '--num-heads is 3, but '),
    (
      ['FILE', 'out', '--model-config', 'other.json'],
      'hidden_size is 48 in FILE, 768 in other.json; pass',
    ),
    (
      ['FILE', 'out', '--tied', 'correction', *CONFIG],
      'must be one of embedding, decoder for FILE, got correction',
    ),
    (['FILE', 'out', '--config', 'uniter_lmdb'], 'nearest: own_small'),
    (['FILE', 'out', '--config.seed=1'], 'unknown arguments: --config.seed=1'),
    (['FILE', 'full', *CONFIG], 'full already exists; remove it'),
    (['FILE', 'no/such', *CONFIG], 'no/such cannot be written: folder no is'),
    (['FILE', 'out.safetensors', *CONFIG], 'the name of a weight file'),
    (['full', 'out.safetensors'], 'full must be a run folder'),
    (['full', 'out'], 'out must end in .pt, .pth, .bin, .safetensors'),
    (['full', 'FILE'], 'already exists'),
    (['FILE', 'link', *CONFIG], 'link cannot be written: folder '),
    (['full', 'empty.pt'], 'empty.pt cannot be written: Is a directory'),
    (
      ['full', 'out.safetensors', '--num-heads', '4'],
      '--num-heads applies only to weight files, but full is not one',
    ),
  ],
)
def test_an_error_is_one_line_and_leaves_nothing(
  arguments, message, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  shutil.copy(golden.path_of('checkpoint_stage1.safetensors'), 'a.safetensors')
  Path('full').mkdir()
  Path('full', 'file').touch()
  Path('empty.pt').mkdir()
  Path('link').symlink_to('no/such')
  Path('other.json').write_text(
    '{"num_attention_heads": 12, "hidden_size": 768}'
  )
  before = sorted(tmp_path.rglob('*'))
  arguments = [
    'a.safetensors' if word == 'FILE' else word for word in arguments
  ]
  assert main.main(['convert', *arguments]) == 2
  shown = capsys.readouterr().err
  assert message.replace('FILE', 'a.safetensors') in shown
  assert shown.startswith('tagsdc convert: ') and shown.count('\n') == 1
  assert sorted(tmp_path.rglob('*')) == before


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys):
  def fail(*unused_args, **unused_options):
    raise OSError(28, 'No space left on device')

  source = _source('checkpoint_stage1.safetensors')
  with monkeypatch.context() as patch:
    patch.setattr(checkpoints, 'export', fail)
    assert (
      main.main(['convert', str(source), str(tmp_path / 'ours'), *CONFIG]) == 2
    )
  assert 'ours cannot be written: no space is left' in capsys.readouterr().err
  assert not any(tmp_path.iterdir())
  _run(source, tmp_path / 'ours', *CONFIG)
  with monkeypatch.context() as patch:
    patch.setattr(reading, 'write', fail)
    assert (
      main.main(
        ['convert', str(tmp_path / 'ours'), str(tmp_path / 'back.safetensors')]
      )
      == 2
    )
  assert [path.name for path in tmp_path.iterdir()] == ['ours']
