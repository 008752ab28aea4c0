"""Work that never ends: in one process that stands for several, and in two."""

import dataclasses
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from tagsdc_jax.runtime import launcher, watchdog
from tests import children, tiny

# Whether pieces of work that take so many seconds end the process. It says
# that it is one of two.
_SCRIPT = """
import time
import jax
jax.process_count, jax.process_index = lambda: 2, lambda: 1
from tagsdc_jax.runtime import watchdog
watch = watchdog.Watch({seconds})
def wait(delay):
  time.sleep(delay)
  print(delay, flush=True)
"""
_DATA = """
for _ in watch.each(watchdog.DATA._replace(first=3.0), map(wait, {delays})):
  pass
"""
_SAVES = """
for delay in {delays}:
  with watch.during(watchdog.SAVING, num_bytes={num_bytes}):
    wait(delay)
"""
_VALIDATIONS = """
for delays in {delays}:
  with watch.during(watchdog.SCORING._replace(first=3.0)) as go_on:
    for delay in delays:
      wait(delay)
      go_on()
  time.sleep(1)  # For others, which may take as long as they do.
"""
# A hook: what it does, its save, its waiting for others, and what it does then.
_HOOK = """
before, save, others, after = {delays}
with watch.during(watchdog.OTHER._replace(first=1.0)):
  wait(before)
  with watch.during(watchdog.SAVING, num_bytes={num_bytes}):
    wait(save)
  with watch.waiting():
    wait(others)
  wait(after)
"""
_FOR_EVER = 3600.0


def _run(code, seconds=0.3, **values):
  return subprocess.run(
    [
      sys.executable,
      '-c',
      textwrap.dedent(_SCRIPT + code).format(seconds=seconds, **values),
    ],
    capture_output=True,
    text=True,
    check=False,
    timeout=60,
  )


@pytest.mark.parametrize(
  'code, delays, doing',
  [
    # The first may take three times as long here.
    (_DATA, [0.6, 0.01, _FOR_EVER], 'waiting for data'),
    (_DATA, [_FOR_EVER], 'waiting for data'),
    (_SAVES, [0.01, _FOR_EVER], 'writing a checkpoint'),
    (
      _VALIDATIONS,
      [[0.6, 0.6], [0.01, _FOR_EVER]],
      'scoring captions and images',
    ),
    (_HOOK, [0.01, _FOR_EVER, 0.0, 0.0], 'writing a checkpoint'),
    (_HOOK, [0.01, 0.01, 0.6, _FOR_EVER], 'doing the same work'),
  ],
)
def test_what_never_ends_is_said_and_ends_the_process(code, delays, doing):
  ended = _run(code, delays=delays, num_bytes=0)
  assert ended.returncode == watchdog.HUNG
  before = np.hstack(delays).tolist()
  assert ended.stdout.split() == [
    str(delay) for delay in before[: before.index(_FOR_EVER)]
  ]
  (line,) = ended.stderr.splitlines()
  assert line.startswith(
    f'tagsdc: process 1 of 2 (numbered from 0) has been {doing} for '
  )
  assert 'hang_seconds' in line and 'the same command again' in line


@pytest.mark.parametrize(
  'code, delays, values',
  [
    (_DATA, [0.01, 0.2, 0.6, 0.01], {}),  # Not five times as slow as before.
    (_DATA, [0.01, 0.5], {'seconds': 0}),
    (_SAVES, [0.6, 0.6], {'num_bytes': 4_000_000}),  # A second more.
    # What compiles is slow; and the longest of the last time counts.
    (_VALIDATIONS, [[0.6, 0.1], [0.01, 0.8, 0.01]], {}),
    # What is watched inside is not part of it.
    (_HOOK, [0.1, 0.6, 1.0, 0.1], {'num_bytes': 4_000_000}),
  ],
)
def test_what_is_only_slow_is_waited_for(code, delays, values):
  ended = _run(code, delays=delays, **{'num_bytes': 0} | values)
  assert (ended.returncode, ended.stderr) == (0, '')


def test_what_was_compiled_once_is_forgotten():
  ended = _run(_VALIDATIONS, delays=[[0.8], [0.1], [0.01, _FOR_EVER]])
  assert ended.returncode == watchdog.HUNG
  assert ended.stdout.split() == ['0.8', '0.1', '0.01']
  # Not five times 0.8.
  assert float(ended.stderr.split(' s and exits')[0].split()[-1]) < 4


def test_one_process_waits_as_long_as_it_takes():
  watch = watchdog.Watch(0.01)

  def items():
    yield 0
    time.sleep(0.1)
    yield 1

  assert list(watch.each(watchdog.DATA, items())) == [0, 1]
  with watch.during(watchdog.SAVING) as go_on:
    time.sleep(0.1)
    go_on()


# A training of which one process never comes back from a call.
_TRAINING = """
import itertools, os, sys, time
import orbax.checkpoint as ocp
from tagsdc_jax import main
from tagsdc_jax.evaluation import matrix
place, begun, *arguments = sys.argv[1:]
owner, name, process, calls = {
    'save': (ocp.CheckpointManager, 'save', 0, 0),
    'validation': (matrix, 'score_parts', 1, 1)}[place]
original, count = getattr(owner, name), itertools.count()
def hang(*args, **options):
  if next(count) == calls:
    open(begun, 'w').close()
    time.sleep(3600)
  return original(*args, **options)
if os.environ['JAX_PROCESS_ID'] == str(process):
  setattr(owner, name, hang)
sys.exit(main.main(arguments))
"""


@pytest.mark.parametrize(
  'place, process, doing',
  [
    ('save', 0, 'writing a checkpoint'),
    ('validation', 1, 'scoring captions and images'),
  ],
)
def test_a_process_that_hangs_is_named(
  place, process, doing, world_dir, tmp_path, monkeypatch, capfd
):
  children.prepare(monkeypatch)
  monkeypatch.setattr(launcher, '_DIED', 2.0)
  config = tiny.make_settings(
    'pretrain', world_dir, eval_every=1, checkpoint_every=1, hang_seconds=3.0
  )
  config = dataclasses.replace(
    config, evaluation=dataclasses.replace(config.evaluation, tile_images=2)
  )
  tiny.write_config(tmp_path / 'config.py', config)
  begun = tmp_path / 'begun'
  assert (
    launcher.run(
      [
        sys.executable,
        '-c',
        _TRAINING,
        place,
        str(begun),
        'train',
        '--config',
        str(tmp_path / 'config.py'),
        '--run-dir',
        str(tmp_path / 'run'),
      ],
      2,
      1,
    )
    == 1
  )
  # The launcher gives the other one two seconds to end by itself.
  assert time.time() - begun.stat().st_mtime < 3 + 2 + 10
  shown = capfd.readouterr().err.splitlines()
  assert f'process {process} of 2 (numbered from 0) hung and' in shown[-1]
  assert [line for line in shown if f'has been {doing} for ' in line]
