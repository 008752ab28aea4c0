"""The same run on any number of processes and devices, and handed over."""

import json
import os
import sys

import jax
import numpy as np
import pytest

from tagsdc_jax.runtime import launcher
from tests import children, processes

# Every process compiles its own program; the whole table takes minutes.
_slow = pytest.mark.skipif(
  not os.environ.get('TAGSDC_SLOW_TESTS'), reason='set TAGSDC_SLOW_TESTS=1'
)


@pytest.mark.parametrize(
  'phase, count, devices',
  [
    ('dc', 2, 2),
    pytest.param('dc', 4, 1, marks=_slow),
    pytest.param('tags', 2, 2, marks=_slow),
    pytest.param('tags', 4, 1, marks=_slow),
  ],
)
def test_processes_only_divide_the_work(
  phase, count, devices, world_dir, tmp_path, monkeypatch
):
  children.prepare(monkeypatch)
  config, own = processes.make_settings(phase, world_dir), jax.local_devices()
  whole = processes.run_phase(config, own, tmp_path, processes.HANDED_OVER)
  assert (len(whole.draws), len(whole.losses)) == (
    processes.UPDATES * processes.MICRO_BATCHES,
    processes.UPDATES,
  )
  # Several processes go on from there, and do ten updates.
  assert (
    launcher.run(
      [
        sys.executable,
        '-m',
        'tests.processes',
        str(tmp_path),
        world_dir,
        phase,
      ],
      count,
      devices,
    )
    == 0
  )
  drawn = [
    json.loads((tmp_path / f'draws_{i}.json').read_text()) for i in range(count)
  ]
  losses = json.loads((tmp_path / 'losses.json').read_text())
  for share in drawn:
    assert len(share) == 10 * processes.MICRO_BATCHES / count
  _same(
    whole,
    {int(k): v for k, v in losses.items()},
    {int(k): v for share in drawn for k, v in share.items()},
    processes.HANDED_OVER,
  )
  # They have divided a validation, too.
  np.testing.assert_array_equal(
    np.load(tmp_path / 'scores.npy'), processes.validate(config, own[:devices])
  )
  # And one process from what they have saved in the middle.
  again = processes.run_phase(config, own, tmp_path, 0)
  _same(whole, again.losses, again.draws, processes.HANDED_BACK)
  for ours, theirs in zip(
    jax.tree.leaves(again.state), jax.tree.leaves(whole.state), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def _same(whole, losses, draws, first):
  """Checks that these are the whole run's after some updates."""
  assert draws == {
    number: drawn
    for number, drawn in whole.draws.items()
    if number >= first * processes.MICRO_BATCHES
  }
  assert list(losses) == list(range(first + 1, processes.UPDATES + 1))
  assert list(losses.values()) == pytest.approx(
    [whole.losses[update] for update in losses], abs=1e-5
  )
