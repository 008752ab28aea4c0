"""The loop with a step of three lines: order, lateness, early ends."""

import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import device_feed, loop

DEVICES = parallel.local_devices(2)


def _step(state, batch):
  """Adds the batch; update 0 of the batch's `bad` gives NaN."""
  state = state + batch['x']
  return state, {
    'loss': jnp.where(batch['bad'] > 0, jnp.nan, state),
    'gradient_norm': batch['norm'],
    'bad_micro_batch': jnp.where(batch['bad'] > 0, batch['bad'], -1),
  }


class _Hook:
  """Notes the updates and states it is called with."""

  def __init__(self, log, name, due):
    self.log, self.name, self.due = log, name, due

  def is_due(self, update):
    return update in self.due

  def __call__(self, update, state, is_stopping):
    self.log.append(
      (self.name, update, float(parallel.first(state)), is_stopping)
    )


def _run(log, *, due=(), stop_at=None, bad=None, norms=1.0, first=0, last=5):
  taken = []

  def batches():
    for update in range(first + 1, last + 1):
      taken.append(update)
      yield {
        'x': np.ones(2, np.float32),
        'bad': np.full(2, 7 if update == bad else 0, np.int32),
        'norm': np.full(2, norms, np.float32),
      }

  state, done = loop.run(
    device_feed.Programs(parallel.pmap_step(_step, DEVICES)),
    parallel.replicate(np.float32(first), DEVICES),
    batches(),
    devices=DEVICES,
    first_update=first,
    last_update=last,
    report=lambda update, values: log.append(
      ('report', update, values['loss'])
    ),
    hooks=[_Hook(log, 'a', due), _Hook(log, 'b', due)],
    is_stopping=lambda: stop_at is not None and len(taken) >= stop_at,
    explain=lambda number: f'micro-batch {number}',
  )
  return float(parallel.first(state)), done


def test_every_update_is_reported_once_and_in_order():
  log = []
  assert _run(log) == (5.0, 5)
  assert log == [('report', n, float(n)) for n in range(1, 6)]


def test_hooks_come_where_they_are_due_after_the_report_of_that_update():
  log = []
  assert _run(log, due=(0, 2, 5)) == (5.0, 5)
  assert [entry for entry in log if entry[0] != 'report'] == [
    (name, n, float(n), False) for n in (0, 2, 5) for name in 'ab'
  ]
  assert log.index(('report', 2, 2.0)) < log.index(('a', 2, 2.0, False))
  assert log.index(('b', 2, 2.0, False)) < log.index(('report', 3, 3.0))


def test_a_run_that_is_at_its_end_does_nothing_but_what_is_due():
  log = []
  assert _run(log, due=(5,), first=5) == (5.0, 5)
  assert log == [('a', 5, 5.0, False), ('b', 5, 5.0, False)]


def test_asked_to_stop_all_hooks_see_the_last_state():
  log = []
  state, done = _run(log, stop_at=2)
  assert 2 <= done <= 3 and state == done
  assert log[-2:] == [('a', done, state, True), ('b', done, state, True)]
  assert ('report', done, state) in log


def test_a_loss_that_is_not_finite_reaches_no_hook():
  log = []
  with pytest.raises(
    errors.UserError,
    match='loss of update 3 is not finite, '
    r'first in micro-batch 7 \(gradient_norm 1, loss '
    r'nan\); lower optimizer.learning_rate',
  ):
    _run(log, bad=3, due=(2, 3, 4))
  assert [entry[1] for entry in log if entry[0] == 'a'] == [2]
  assert ('report', 3) not in [entry[:2] for entry in log]


def test_it_is_noticed_one_update_late_at_most():
  log = []
  with pytest.raises(errors.UserError, match='update 3 is not finite'):
    _run(log, bad=3)
  assert log == [('report', 1, 1.0), ('report', 2, 2.0)]


def test_a_gradient_that_is_not_finite():
  with pytest.raises(
    errors.UserError, match='update 1 are finite, but the gradient is not'
  ):
    _run([], norms=np.inf)
