"""The same run on any number of processes and devices."""

import json
import os
import sys

import jax
import pytest

from tagsdc_jax import launching
from tests import children, processes


# Every process compiles its own program; the whole table takes minutes.
_slow = pytest.mark.skipif(not os.environ.get('TAGSDC_SLOW_TESTS'),
                           reason='set TAGSDC_SLOW_TESTS=1')


@pytest.mark.parametrize('phase, count, devices', [
    ('dc', 2, 2), pytest.param('dc', 4, 1, marks=_slow),
    pytest.param('tags', 2, 2, marks=_slow),
    pytest.param('tags', 4, 1, marks=_slow)])
def test_processes_only_divide_the_work(phase, count, devices, world_dir,
                                        tmp_path, monkeypatch):
  children.prepare(monkeypatch)
  code = launching.run([sys.executable, '-m', 'tests.processes',
                        str(tmp_path), world_dir, phase], count, devices)
  assert code == 0
  losses, draws, _ = processes.run_phase(
      processes.make_settings(phase, world_dir), jax.local_devices())
  assert len(draws) == processes.UPDATES * processes.MICRO_BATCHES
  drawn = [json.loads((tmp_path / f'draws_{i}.json').read_text())
           for i in range(count)]
  for own in drawn:
    assert len(own) == len(draws) / count
  assert {int(k): v for own in drawn for k, v in own.items()} == draws
  found = json.loads((tmp_path / 'losses.json').read_text())
  assert [int(k) for k in found] == list(losses)
  assert list(found.values()) == pytest.approx(list(losses.values()), abs=1e-5)
