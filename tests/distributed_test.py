"""Start-up of several processes, as far as one process can see it."""

import jax
import pytest

from tagsdc_jax import distributed, errors

FIRST = {'JAX_COORDINATOR_ADDRESS': '10.0.0.1:1234', 'JAX_NUM_PROCESSES': '4',
         'JAX_PROCESS_ID': '3'}


@pytest.mark.parametrize('environment, options', [
    ({}, None),
    ({'JAX_PROCESS_ID': ''}, None),
    (FIRST, {'coordinator_address': '10.0.0.1:1234', 'num_processes': 4,
             'process_id': 3}),
    (FIRST | {'JAX_NUM_PROCESSES': '1', 'JAX_PROCESS_ID': '0'}, None),
    ({'TAGSDC_CLUSTER': 'gcetpu'}, {'cluster_detection_method': 'gcetpu'}),
    ({'SLURM_STEP_NUM_TASKS': '16'}, {'cluster_detection_method': 'slurm'}),
    ({'SLURM_STEP_NUM_TASKS': '1', 'SLURM_NTASKS': '16'}, None),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, {'cluster_detection_method': 'gketpu'}),
    ({'TPU_WORKER_HOSTNAMES': 'a'}, None),
])
def test_the_environment_tells(environment, options):
  assert distributed.find_options(environment) == options


@pytest.mark.parametrize('changes, message', [
    ({'JAX_PROCESS_ID': ''}, 'needs JAX_PROCESS_ID as well'),
    ({'JAX_PROCESS_ID': '4'}, "from 0 to 3, got '4'"),
    ({'JAX_PROCESS_ID': '-1'}, "from 0 to 3, got '-1'"),
    ({'JAX_NUM_PROCESSES': 'two'}, "from 1 on, got 'two'"),
    ({'JAX_COORDINATOR_ADDRESS': '10.0.0.1'}, "host:port .* got '10.0.0.1'"),
])
def test_an_impossible_process(changes, message):
  with pytest.raises(errors.UserError, match=message):
    distributed.find_options(FIRST | changes)


def test_one_process_waits_for_nobody():
  assert distributed.is_first()
  assert distributed.is_any(True) and not distributed.is_any(False)
  done = []
  distributed.on_first(lambda: done.append(1))
  assert done == [1]
  distributed.check_equal(3, 'the update')

  def refuse():
    raise errors.UserError('no')
  with pytest.raises(errors.UserError, match='no'):
    distributed.on_first(refuse)
  assert distributed.leave(2) == 2


def test_what_says_that_another_process_is_gone(monkeypatch):
  lost = jax.errors.JaxRuntimeError(
      'FAILED_PRECONDITION: Gloo AllReduce failed: Connection closed by peer')
  assert not distributed.is_left_alone(lost)  # Of a run of one process.
  monkeypatch.setattr(jax.distributed, 'is_initialized', lambda: True)
  assert distributed.is_left_alone(lost)
  assert distributed.is_left_alone(distributed.LeftAlone('gone'))
  assert not distributed.is_left_alone(ValueError('a bug'))
