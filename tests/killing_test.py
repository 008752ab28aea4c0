"""A run that is killed in a save, asked to stop, and continued."""

import json
import signal
import time

import pytest

from tagsdc_jax.runs import training
from tests import children, killing, tiny


@pytest.fixture(name='config')
def _config(world_dir):
  # It stops early: the evaluation at the end would be most of the work.
  return tiny.make_settings(
    'pretrain',
    world_dir,
    num_updates=1000,
    stop_at_update=16,
    checkpoint_every=1,
    eval_every=0,
    num_devices=1,
  )


def test_killed_and_asked_to_leave_it_is_the_same_run(
  config, tmp_path, monkeypatch
):
  children.prepare(monkeypatch)
  path, run_dir = tmp_path / 'config.py', tmp_path / 'run'
  tiny.write_config(path, config)
  whole = training.train(config, tmp_path / 'whole')

  killed = killing.start(path, run_dir)
  assert killing.send(killed, run_dir, signal.SIGKILL, 0, 'a save')
  killed.communicate(timeout=60)
  assert killed.returncode == -signal.SIGKILL

  asked = killing.start(path, run_dir)
  assert killing.send(asked, run_dir, signal.SIGUSR1, 0.05, 'a step')
  # Schedulers ask more than once, also while it ends.
  while asked.poll() is None:
    asked.send_signal(signal.SIGTERM)
    time.sleep(0.01)
  said = asked.communicate(timeout=60)[0]
  assert asked.returncode == 0
  line = said.splitlines()[-1]
  assert 'asked to stop, saved after update' in line
  assert 'run the same command again to continue' in line
  update = int(line.split('after update ')[1].split()[0])
  assert (run_dir / 'checkpoints' / 'newest' / str(update)).is_dir()

  again = training.train(config, run_dir)
  assert again['parameters_sha256'] == whole['parameters_sha256']
  # Every update is told of once, with the same loss.
  losses = [
    [
      (x['update'], x['loss'])
      for x in map(
        json.loads, (folder / 'metrics.jsonl').read_text().splitlines()
      )
      if x['kind'] == 'train'
    ]
    for folder in (run_dir, tmp_path / 'whole')
  ]
  assert losses[0] == losses[1]
