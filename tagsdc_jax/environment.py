"""What variables of the environment may not do: change a run, or end it badly.

JAX reads a setting from each variable JAX_... when it is imported, and finds
its devices when the first one is touched.
"""

import contextlib
import os
import sys
from typing import Any

from tagsdc_jax import errors

# Settings of JAX that are not the environment's to choose, with their values.
# Some would change all draws without a word, and with them the run; the others
# break what is compiled.
SETTLED: dict[str, Any] = {
  # Draws.
  'jax_default_prng_impl': 'threefry2x32',
  'jax_threefry_partitionable': True,
  'jax_random_seed_offset': 0,
  'jax_high_dynamic_range_gumbel': False,
  'jax_enable_custom_prng': False,
  # Numbers.
  'jax_enable_x64': False,
  'jax_numpy_dtype_promotion': 'standard',
  'jax_softmax_custom_jvp': False,
  'jax_default_device': None,
  # What JAX checks or does otherwise.
  'jax_disable_jit': False,
  'jax_no_execution': False,
  'jax_no_tracing': False,
  'jax_debug_key_reuse': False,
  'jax_transfer_guard_host_to_device': None,
  'jax_transfer_guard_device_to_device': None,
  'jax_transfer_guard_device_to_host': None,
}
# That say which devices there are.
_PLACES = (
  'JAX_PLATFORMS',
  'JAX_PLATFORM_NAME',
  'JAX_NUM_CPU_DEVICES',
  'CUDA_VISIBLE_DEVICES',
  'JAX_CUDA_VISIBLE_DEVICES',
  'XLA_FLAGS',
)


def open_streams() -> None:
  """Gives a process something in the place of closed streams (`>&-`, cron).

  Python has None there. And the next file that is opened would get the number
  of standard output or errors, and hold what libraries write to it.
  """
  for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    if getattr(sys, name) is None:
      # For reading: who names /dev/stdout as a target is told.
      nowhere = os.open(os.devnull, os.O_RDONLY)
      if nowhere != number:  # Taken meanwhile, by what is to stay.
        os.close(nowhere)
      setattr(
        sys, name, open(os.devnull, 'w' if number else 'r', encoding='utf-8')
      )


def import_jax(program: str) -> None:
  """Imports JAX; ends the program with a line where a variable forbids it."""
  try:
    import jax  # noqa: F401
  except ValueError as error:
    names = [
      f'{name}={value!r}'
      for name, value in sorted(os.environ.items())
      if name.startswith('JAX_')
    ]
    print(
      f'{program}: JAX cannot be started with this environment: '
      f'{_first_line(error)}; change or unset one of {", ".join(names)}',
      file=sys.stderr,
    )
    sys.exit(2)


def settle() -> None:
  """Gives JAX's settings their values; says so of those that had others."""
  import jax

  found = jax.config.values
  for name, value in SETTLED.items():
    # Some are of other versions of JAX.
    if name in found and _plain(found[name]) != value:
      print(
        f'{name.upper()} in the environment is {_plain(found[name])!r} and '
        f'not used: it would break a run or change its draws; here it is '
        f'always {value!r}',
        file=sys.stderr,
        flush=True,
      )
      jax.config.update(name, value)


def open_devices() -> None:
  """Has JAX find its devices, before any work.

  Raises:
    UserError: if it finds none.
  """
  import jax

  try:
    jax.local_devices()
  # There is no common class of what platforms raise.
  except Exception as error:
    given = [
      f'{name}={os.environ[name]!r}' for name in _PLACES if os.environ.get(name)
    ]
    reason = _first_line(error) if str(error) else 'it is not installed'
    raise errors.UserError(
      f'JAX finds no device ({reason}). '
      + (
        f'Change or unset {", ".join(given)}'
        if given
        else "Install JAX for this machine's devices"
      )
      + f'; without it there is {_platform()}'
    ) from error


def _platform() -> str:
  """Returns the platform that JAX takes if it may choose."""
  import jax

  with contextlib.suppress(Exception):
    for name in ('jax_platforms', 'jax_platform_name'):
      jax.config.update(name, '')
    return jax.default_backend()
  return 'none either'


def _plain(value: Any) -> Any:
  """Returns a value as the environment gives it, not as one of an enum."""
  return getattr(value, 'value', value)


def _first_line(error: BaseException) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0].rstrip('.')
