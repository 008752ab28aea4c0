"""Too little memory: the line names what to lower, and to what."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.runtime import memory

GIB = 2**30
CONFIG = settings.Settings(
  batch=settings.Batch(positives=32), data=settings.Data(source='uniter_lmdb')
)
CPU = jax.local_devices()[:2]


def _program(size):
  """Stands in for a compiled step that needs so many bytes."""
  usage = types.SimpleNamespace(
    argument_size_in_bytes=size // 2,
    output_size_in_bytes=size // 4,
    temp_size_in_bytes=size // 2,
    alias_size_in_bytes=size // 4,
  )
  return types.SimpleNamespace(memory_analysis=lambda: usage)


def _line(function, *args):
  with pytest.raises(errors.UserError) as caught:
    function(*args)
  line = str(caught.value)
  assert '\n' not in line
  return line


def _explained(error, config=CONFIG, doing=memory.TRAINING, devices=CPU):
  def run():
    with memory.explained(config, doing, devices):
      raise error

  return _line(run)


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
  monkeypatch.setattr(memory, 'host_memory', lambda: 8 * GIB)


def test_a_step_that_cannot_fit():
  memory.check_program(CONFIG, _program(4 * GIB), CPU)
  # Two devices of a CPU share its memory: 24 of 8 GiB, so a quarter is left.
  assert _line(memory.check_program, CONFIG, _program(12 * GIB), CPU) == (
    'out of memory: the train step needs 24.0 GiB, but 8.0 GiB are available; '
    'lower one or more of batch.positives from 32 to 8, negatives.num_hard '
    'from 31 to 7, negatives.num_copies from 20 to 5, negatives.pool_size '
    'from 399 to 99, compute.score_tokens from 8192 to 2048, '
    'compute.gradient_tokens from 2048 to 512, '
    'compute.target_chunk from 64 to 16; compute.dtype=bfloat16 '
    'halves the activations; compute.recompute_layers=true stores fewer '
    'activations; compute.micro_batches_at_once=1 sends inputs in slices'
  )


def test_pretraining_keeps_enough_partners():
  config = settings.Settings(
    phase='pretrain',
    batch=settings.Batch(positives=6),
    compute=settings.Compute(dtype='bfloat16'),
  )
  line = _line(memory.check_program, config, _program(12 * GIB), CPU)
  assert 'batch.positives from 6 to 5,' in line
  assert 'num_hard' not in line and 'bfloat16' not in line


def test_inputs_that_cannot_fit():
  cached = 1000 * 100 * 2048 * 2
  batch = {'features': jax.ShapeDtypeStruct((1, GIB), np.float16)}
  small = {'features': jax.ShapeDtypeStruct((1, GIB // 8), np.float16)}
  memory.check_inputs(CONFIG, small, cached)
  line = _line(memory.check_inputs, CONFIG, batch, cached)
  # Two assembled ahead, one in the making, one in use, and all regions.
  assert line.startswith(
    'out of memory: holding inputs of 2.0 GiB each '
    'needs 8.4 GiB, but 8.0 GiB are available; lower'
  )
  assert 'negatives.pool_size from 399 to 199' in line
  assert 'data.num_prefetched from 2 to 1' in line
  assert line.endswith('data.cache_regions=false caches no region features')


@pytest.mark.parametrize(
  'text, told',
  [
    (
      'RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.',
      'training needs 16.0 GiB, but 8.0 GiB are available; lower one or more '
      'of batch.positives from 32 to 16',
    ),
    (
      'RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory '
      'in memory space hbm. Used 21.95G of 15.48G hbm. Exceeded hbm capacity',
      'training needs 21.9 GiB, but 15.5 GiB are available; lower',
    ),
    (
      'RESOURCE_EXHAUSTED: something new',
      'training needs more than the 8.0 GiB available; lower',
    ),
  ],
)
def test_errors_of_xla(text, told):
  assert told in _explained(jax.errors.JaxRuntimeError(text))


def test_errors_of_a_gpu_count_what_it_held():
  device = types.SimpleNamespace(
    platform='gpu',
    memory_stats=lambda: {'bytes_limit': 8 * GIB, 'peak_bytes_in_use': 7 * GIB},
  )
  line = _explained(
    jax.errors.JaxRuntimeError(
      'RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3.50GiB.'
    ),
    devices=[device],
  )
  assert 'needs 10.5 GiB, but 8.0 GiB are available; lower' in line


def test_a_real_error_of_xla():
  def run():
    with memory.explained(CONFIG, memory.SCORING, CPU):
      jax.block_until_ready(jnp.zeros((2**22, 2**22)))

  assert _line(run) == (
    'out of memory: scoring needs 65,536.0 GiB, but 8.0 GiB are available; '
    'lower one or more of evaluation.tile_texts from 32 to 1, '
    'evaluation.tile_images from 8 to 1'
  )


def test_errors_of_numpy():
  def run():
    with memory.explained(CONFIG, memory.TRAINING, CPU):
      np.zeros((2**22, 2**22))

  line = _line(run)
  assert 'training needs 131,072.0 GiB' in line
  assert 'negatives.pool_size from 399 to 1,' in line


def test_other_errors_of_xla_pass():
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    with memory.explained(CONFIG, memory.TRAINING, CPU):
      raise jax.errors.JaxRuntimeError('INTERNAL: a bug')


def test_nothing_left_to_lower():
  config = dataclasses.replace(
    CONFIG,
    evaluation=dataclasses.replace(
      CONFIG.evaluation, tile_texts=1, tile_images=1
    ),
  )
  line = _explained(MemoryError(), config, memory.SCORING)
  assert 'lower one or more of' in line  # What the host holds.
  error = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED')
  line = _explained(error, config, memory.SCORING)
  assert line.endswith('use a machine with more memory')


def test_memory_of_this_machine(monkeypatch):
  monkeypatch.undo()
  found = memory.host_memory()
  assert found is None or found > 2**20


def test_a_limit_of_the_process_counts(monkeypatch):
  monkeypatch.undo()
  monkeypatch.setattr(memory.resource, 'getrlimit', lambda _: (2**20, 2**30))
  assert memory.host_memory() == 2**20


def test_a_network_that_cannot_fit():
  config = dataclasses.replace(
    CONFIG,
    model=settings.Model(
      num_layers=24, hidden_size=4096, num_heads=16, max_positions=8
    ),
  )
  shapes = {'kernel': jax.ShapeDtypeStruct((2**28,), np.float32)}
  memory.check_network(
    CONFIG, {'kernel': jax.ShapeDtypeStruct((2**28,), jnp.bfloat16)}
  )
  # 1 GiB with two moments is 3; here ten times that.
  assert _line(
    memory.check_network, config, {str(i): shapes for i in range(10)}
  ) == (
    'out of memory: the network with its optimizer needs 30.0 GiB, but '
    '8.0 GiB are available; lower one or more of model.hidden_size from '
    '4096 to 1024, '
    'model.num_layers from 24 to 6, model.intermediate_size from 3072 to '
    '768, model.max_positions from 8 to 3'
  )
