"""Tests of finding, loading and overriding configs."""

import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.commands import configs

OWN_CONFIG = """
from tagsdc_jax.configs import world_tags


def get_config():
  config = world_tags.get_config()
  config.seed = 7
  return config
"""


def test_overrides_apply_with_the_type_of_the_default():
  config = configs.load(
    'world_tags',
    [
      '--config.optimizer.learning_rate=1e-5',
      '--config.num_updates=77',
      '--config.data.root=some folder',
      '--config.data.cache_regions=false',
      '--config.keep_at_updates=(10, 20)',
    ],
  )
  assert config.optimizer.learning_rate == 1e-5
  assert config.num_updates == 77
  assert config.data.root == 'some folder'
  assert config.data.cache_regions is False
  assert config.keep_at_updates == (10, 20)


def test_folders_can_be_one_or_several():
  one = configs.load('own_small_tags', ['--config.data.train_text=a/b.db'])
  assert one.data.train_text == ('a/b.db',)
  two = configs.load(
    'own_small_tags', ["--config.data.train_text=('a.db', 'b.db')"]
  )
  assert two.data.train_text == ('a.db', 'b.db')


def test_a_loaded_config_does_not_change_the_next():
  configs.load('world_tags', ['--config.seed=5'])
  assert configs.load('world_tags', ()).seed == 0


def test_a_file_of_ones_own(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(OWN_CONFIG, 'utf-8')
  assert configs.load(str(path), ['--config.log_every=3']).seed == 7


def test_the_suffix_and_folder_of_our_own_may_be_given():
  assert configs.find('configs/world_tags.py').name == 'world_tags.py'
  assert configs.find('world_tags').is_file()


@pytest.mark.parametrize(
  'override, message',
  [
    (
      '--config.optimizer.learning_rat=1',
      'nearest: --config.optimizer.learning_rate',
    ),
    ('--config.learning_rate=1', 'nearest: --config.optimizer.learning_rate'),
    ('--config.sed=1', 'nearest: --config.seed'),
    ('--config.num_updates', 'needs a value: --config.num_updates=VALUE'),
    (
      '--config.num_updates=many',
      '--config.num_updates must be a whole number from 1 to 16777216, got '
      "'many'",
    ),
    (
      '--config.optimizer.learning_rate=fast',
      "must be a number from 1e-12 to 1, got 'fast'",
    ),
    ('--config.data.cache_regions=perhaps', 'must be true or false'),
    (
      '--config.keep_at_updates=(1, a)',
      'must be a whole number from 1 to 16777216, or several',
    ),
    (
      '--config.optimizer=1',
      'is a group, not a setting; set one of optimizer.learning_rate',
    ),
    ('--config.phase=stage1', 'one of pretrain, tags, dc'),
    (
      '--config.negatives.temperature=0',
      'must be a number from 1e-06 to 1e+06',
    ),
  ],
)
def test_a_bad_override_is_a_user_error_of_one_line(override, message):
  with pytest.raises(errors.UserError) as caught:
    configs.load('world_tags', [override])
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)


def test_an_unknown_config_names_the_nearest():
  with pytest.raises(errors.UserError, match='nearest: world_tags') as caught:
    configs.load('wrld_tags', ())
  assert 'flickr30k_base_dc' in str(caught.value)


CHANGED = """
from tagsdc_jax import settings
def get_config():
  config = settings.default_config()
  config.CHANGE
  return config
"""


@pytest.mark.parametrize(
  'content, message',
  [
    ('def get_config(:\n', 'line 1: SyntaxError: '),
    ('\nimport no_such_module\n', 'line 2: ModuleNotFoundError: '),
    ('def get_config():\n  return settngs.x\n', 'line 2: NameError: '),
    ('raise SystemExit("bye")', 'line 1: SystemExit: bye'),
    ('x = 1\n', 'must define get_config()'),
    (
      'def get_config():\n  return None\n',
      'must return a (modified) settings.default_',
    ),
    (
      CHANGED.replace('CHANGE', 'sed = 1'),
      'line 5: sed is not a setting; nearest: seed',
    ),
    (
      CHANGED.replace('CHANGE', 'num_updates = "many"'),
      'line 5: num_updates must be a whole number from 1 to 16777216, got many',
    ),
    (CHANGED.replace('CHANGE', 'optimizer = 3'), 'optimizer is a group of'),
    (
      CHANGED.replace('CHANGE', 'optimizer.learning_rate = None'),
      'optimizer.learning_rate must be a number from 1e-12 to 1, got None',
    ),
  ],
)
def test_a_broken_file_is_a_user_error(tmp_path, content, message):
  path = tmp_path / 'broken.py'
  path.write_text(content, 'utf-8')
  with pytest.raises(errors.UserError, match='broken.py') as caught:
    configs.load(str(path), ())
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)


def test_a_family_is_two_to_four_configs():
  assert {'flickr30k_base', 'own_small', 'world'} < set(configs.families())
  # Its weights come from elsewhere.
  assert list(configs.load_phases('flickr30k_base', ())) == ['tags', 'dc']
  several = configs.load_phases('flickr8k_small', ())
  assert list(several) == ['align', 'pretrain', 'tags', 'dc']
  assert several['align'].phase == 'pretrain'
  found = configs.load_phases('own_small', ['--config.seed=3'])
  assert list(found) == list(settings.PHASES)
  for phase, config in found.items():
    assert config == configs.load(f'own_small_{phase}', ['--config.seed=3'])


def test_a_family_of_files(tmp_path):
  for phase in settings.PHASES:
    (tmp_path / f'mine_{phase}.py').write_text(
      'from tagsdc_jax import settings\ndef get_config():\n'
      '  config = settings.default_config()\n'
      f"  config.phase = '{phase}'\n  config.batch.positives = 8\n"
      '  return config\n'
    )
  found = configs.load_phases(f'{tmp_path}/mine.py', ())
  assert [config.phase for config in found.values()] == list(settings.PHASES)
  with pytest.raises(errors.UserError, match='must have phase pretrain, got d'):
    configs.load_phases(f'{tmp_path}/mine.py', ['--config.phase=dc'])
  (tmp_path / 'mine_dc.py').unlink()
  with pytest.raises(errors.UserError, match='mine_dc.py is neither a file'):
    configs.load_phases(f'{tmp_path}/mine.py', ())
  with pytest.raises(errors.UserError, match='no config is named no_tags or '):
    configs.load_phases('no', ())


@pytest.mark.parametrize(
  'name, message',
  [
    ('own_small', 'tagsdc train --phases own_small'),
    ('uniter_lmdb_small', 'is now own_small_tags, with smaller batches'),
    ('uniter_lmdb_small_dc', 'is now own_small_dc, with'),
    ('flickr30k_base', 'pass flickr30k_base_tags or flickr30k_base_dc, or'),
  ],
)
def test_names_that_are_almost_configs(name, message):
  with pytest.raises(errors.UserError, match=message):
    configs.load(name, ())
