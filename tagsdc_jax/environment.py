"""Keeps environment variables from changing a run or crashing it.

JAX reads its JAX_... variables on import, and finds its devices on first use.
"""

import contextlib
import os
import sys
from typing import Any

from tagsdc_jax import errors

# JAX settings that the environment must not change, with their values. Some
# would silently change all random draws and thus the run; others would break
# compilation.
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
  # Execution and checks.
  'jax_disable_jit': False,
  'jax_no_execution': False,
  'jax_no_tracing': False,
  'jax_debug_key_reuse': False,
  'jax_transfer_guard_host_to_device': None,
  'jax_transfer_guard_device_to_device': None,
  'jax_transfer_guard_device_to_host': None,
}
# Variables that determine which devices JAX finds.
_DEVICE_VARIABLES = (
  'JAX_PLATFORMS',
  'JAX_PLATFORM_NAME',
  'JAX_NUM_CPU_DEVICES',
  'CUDA_VISIBLE_DEVICES',
  'JAX_CUDA_VISIBLE_DEVICES',
  'XLA_FLAGS',
)


def open_streams() -> None:
  """Opens the null device in place of closed standard streams (`>&-`, cron).

  Python sets closed streams to None. Also, the next file to be opened would get
  their descriptor, and receive whatever libraries write to it.
  """
  for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    if getattr(sys, name) is None:
      # Read-only, so that /dev/stdout as an output path is an error.
      nowhere = os.open(os.devnull, os.O_RDONLY)
      if nowhere != number:  # The descriptor is in use by now.
        os.close(nowhere)
      setattr(
        sys, name, open(os.devnull, 'w' if number else 'r', encoding='utf-8')
      )


def import_jax(program: str) -> None:
  """Imports JAX; exits with one line if an environment variable is invalid."""
  try:
    import jax  # noqa: F401
  except ValueError as error:
    names = [
      f'{name}={value!r}'
      for name, value in sorted(os.environ.items())
      if name.startswith('JAX_')
    ]
    print(
      f'{program}: JAX cannot start in this environment: '
      f'{_first_line(error)}; change or unset one of {", ".join(names)}',
      file=sys.stderr,
    )
    sys.exit(2)


def settle() -> None:
  """Sets the JAX settings above; prints those that the environment changed."""
  import jax

  current = jax.config.values
  for name, value in SETTLED.items():
    # Some exist only in other versions of JAX.
    if name in current and _plain(current[name]) != value:
      print(
        f'{name.upper()}={_plain(current[name])!r} in the environment is '
        'ignored, because it would break a run or change its random draws; '
        f'the value is always {value!r}',
        file=sys.stderr,
        flush=True,
      )
      jax.config.update(name, value)


def open_devices() -> None:
  """Initializes JAX's devices before any work.

  Raises:
    UserError: if JAX finds no device.
  """
  import jax

  try:
    jax.local_devices()
  # Platforms share no exception class.
  except Exception as error:
    variables = [
      f'{name}={os.environ[name]!r}'
      for name in _DEVICE_VARIABLES
      if os.environ.get(name)
    ]
    reason = _first_line(error) if str(error) else 'it is not installed'
    raise errors.UserError(
      f'JAX finds no device ({reason}). '
      + (
        f'Change or unset {", ".join(variables)}'
        if variables
        else "Install JAX for this machine's devices"
      )
      + f'; without it, JAX uses {_platform()}'
    ) from error


def _platform() -> str:
  """Returns the platform that JAX chooses by default."""
  import jax

  with contextlib.suppress(Exception):
    for name in ('jax_platforms', 'jax_platform_name'):
      jax.config.update(name, '')
    return jax.default_backend()
  return 'no device either'


def _plain(value: Any) -> Any:
  """Returns the plain value of an enum member; other values as they are."""
  return getattr(value, 'value', value)


def _first_line(error: BaseException) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0].rstrip('.')
