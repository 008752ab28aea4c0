"""Tests of what a run starts from."""

import dataclasses

import jax
import numpy as np
import pytest

from tagsdc_jax import errors, main, settings
from tagsdc_jax.runs import starting, training
from tagsdc_jax.training import checkpoints
from tests import tiny


@pytest.mark.parametrize(
  'phase, message',
  [
    ('pretrain', 'bert-base-cased OUT --start'),
    ('tags', 'this recipe starts from pretrained weights: convert those of UN'),
    ('dc', 'stage 2 starts from the weights of stage 1: pass --config.init_fr'),
  ],
)
def test_a_start_that_is_required(phase, message, tmp_path):
  # Nothing is read or written before: the folder of the data is not there.
  config = tiny.make_settings(
    phase, str(tmp_path / 'none'), init_from=settings.REQUIRED
  )
  with pytest.raises(errors.UserError, match=message) as caught:
    training.train(config, tmp_path / 'run')
  assert '--config.init_from=fresh' in str(caught.value)
  assert not any(tmp_path.iterdir())


def test_the_command_says_it_in_one_line(tmp_path, capsys):
  arguments = ['--config', 'flickr30k_base_tags', '--run-dir', str(tmp_path)]
  assert main.main(['train', *arguments]) == 2
  shown = capsys.readouterr().err
  assert shown.startswith('tagsdc train: this recipe starts from pretrained')
  assert shown.count('\n') == 1
  # Then it goes on, to the data that is missing.
  assert main.main(['train', *arguments, '--config.init_from=fresh']) == 2
  assert 'data.root must name the folder' in capsys.readouterr().err


def test_fresh_is_what_empty_is(world_dir):
  config = tiny.make_settings('tags', world_dir)
  _, fresh = tiny.make_state(tiny.make_task(config))
  for init_from in ('', settings.FRESH):
    task = tiny.make_task(dataclasses.replace(config, init_from=init_from))
    params = starting.start_phase(task, fresh).params
    jax.tree.map(
      np.testing.assert_array_equal, params['encoder'], fresh.params['encoder']
    )


def test_weights_for_other_features_say_so(world_dir, tmp_path):
  config = tiny.make_settings('tags', world_dir, init_from=str(tmp_path / 'a'))
  task = tiny.make_task(config)
  _, fresh = tiny.make_state(task)
  other = dataclasses.replace(
    task.settings,
    init_from='',
    model=dataclasses.replace(task.settings.model, feature_size=2048),
  )
  checkpoints.export(
    tmp_path / 'a',
    fresh.params,
    {'phase': 'tags', 'update': 1, 'settings': settings.flatten(other)},
  )
  with pytest.raises(errors.UserError) as caught:
    starting.start_phase(task, fresh)
  line = str(caught.value)
  assert (
    f'the weights of {tmp_path / "a"} expect 2048 numbers per region, but the '
    'data has 240; '
  ) in line
  for way in ('detector', 'BERT OUT --start', '--config.init_from=fresh'):
    assert way in line
