"""Inputs are sent one ahead, and never more than two are on the devices."""

import jax.numpy as jnp
import numpy as np

from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import device_feed

DEVICES = parallel.local_devices(1)


class _Result:
  """A scalar that the devices have once somebody waits for it."""

  def __init__(self, log, name):
    self.log, self.name, self.is_done = log, name, False

  def is_ready(self):
    return self.is_done

  def block_until_ready(self):
    self.log.append(f'waits for {self.name}')
    self.is_done = True


def _batches(log, names):
  for name in names:
    log.append(f'sends {name}')
    yield np.full(1, ord(name), np.int32)


def _taken(feed):
  return chr(parallel.first(feed.take()))


def test_one_is_sent_ahead_and_waits_for_the_one_before():
  log = []
  feed = device_feed.Feed(_batches(log, 'abc'), DEVICES)
  assert _taken(feed) == 'a'
  assert log == ['sends a']
  feed.ran(_Result(log, 'A'))
  # A may still run, and b is there: c has to wait for A.
  assert log == ['sends a', 'sends b']
  assert _taken(feed) == 'b'
  feed.ran(_Result(log, 'B'))
  assert log == ['sends a', 'sends b', 'waits for A', 'sends c']
  assert _taken(feed) == 'c'
  feed.ran(_Result(log, 'C'))
  assert log[-1] == 'waits for B' and not feed.is_late


def test_late_are_inputs_that_come_when_the_devices_are_done():
  log = []
  feed = device_feed.Feed(_batches(log, 'ab'), DEVICES)
  feed.take()
  result = _Result(log, 'A')
  result.is_done = True
  feed.ran(result)
  assert feed.is_late and feed.seconds > 0
  feed.is_late = False
  feed.take()
  feed.ran(result)  # Nothing is left that could be late.
  assert not feed.is_late


def test_slices_are_added_up_before_the_step():
  log = []

  def start(state):
    return jnp.zeros_like(state)

  def accumulate(sums, state, batch):
    log.append(('adds', int(state[0]), int(batch[0])))
    return sums + batch, parallel.replicate(np.int32(0), DEVICES)

  programs = device_feed.Programs(
    lambda state, sums: (state + sums, {}), start, accumulate, num_slices=3
  )
  feed = device_feed.Feed(
    iter(np.array([[1], [2], [3], [4]], np.int32)), DEVICES
  )
  state, _ = device_feed.run_update(programs, np.array([10], np.int32), feed)
  assert int(state[0]) == 16
  assert log == [('adds', 10, 1), ('adds', 10, 2), ('adds', 10, 3)]
