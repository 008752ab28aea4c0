"""Runs of one test file that train the same share the compiled update."""

import dataclasses

import jax
import pytest

from tagsdc_jax import settings
from tagsdc_jax.runs import compiling
from tagsdc_jax.runtime import parallel

# The program depends on these, though the run's results do not.
_COMPILED = {'extensions', 'compute.micro_batches_at_once'}
_NOT_COMPILED = {'init_from', *settings.FREE_TO_CHANGE} - _COMPILED


def _what(task, source, devices):
  """Returns all that an update's programs are made from."""
  defaults = settings.flatten(settings.Settings(phase=task.settings.phase))
  config = settings.from_flat(
    settings.flatten(task.settings)
    | {name: defaults[name] for name in _NOT_COMPILED}
  )
  return (
    dataclasses.replace(task, settings=config),
    type(source),
    source.shapes,
    tuple(devices),
  )


@pytest.fixture(scope='module')
def shared_updates():
  """Compiles an update once for all runs of the file with the same settings.

  Runs that are continued would find it in the compilation cache, but only
  after it was traced anew, which takes as long as compiling it.
  """
  compiled, asked = {}, []
  compile_update = compiling.compile_update
  compile_step = parallel.compile_step

  def of_update(task, minimized, tx, source, host_state, devices):
    asked.append(_what(task, source, devices))
    try:
      return compile_update(task, minimized, tx, source, host_state, devices)
    finally:
      asked.pop()

  def of_step(step, arguments, num_devices):
    leaves, structure = jax.tree.flatten(arguments)
    key = (asked[-1], structure, *((x.shape, x.dtype) for x in leaves))
    if key not in compiled:
      compiled[key] = compile_step(step, arguments, num_devices)
    return compiled[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(compiling, 'compile_update', of_update)
    patch.setattr(compiling.parallel, 'compile_step', of_step)
    yield
