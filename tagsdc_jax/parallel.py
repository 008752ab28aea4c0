"""jax.pmap, replication and transfer: how devices are addressed.

Nothing else in the project knows of devices. Arrays on devices carry a
leading axis of this process's devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from tagsdc_jax import errors

AXIS = 'devices'


def local_devices(number: int) -> list[jax.Device]:
  """Returns this process's devices, the first `number` of them (0 = all).

  Raises:
    UserError: if there are fewer.
  """
  devices = jax.local_devices()
  if number > len(devices):
    raise errors.UserError(
        f'num_devices must be at most {len(devices)}, the devices that this '
        f'process sees ({devices[0].platform}), got {number}')
  return devices[:number or None]


def pmap_step(step: Callable, devices: Sequence[jax.Device]) -> Callable:
  """Returns the step over all devices; its first argument is donated."""
  return jax.pmap(step, axis_name=AXIS, devices=devices, donate_argnums=(0,))


def compile_step(step: Any, train_state: Any, batch: Any,
                 num_devices: int) -> Any:
  """Returns a step from `pmap_step` compiled; it is called as before.

  Args:
    step: of one process; several are not supported yet.
    train_state: host arrays, to be replicated; only shapes are read.
    batch: shapes with the device axis in front.
    num_devices: over which the step runs.
  """
  replicated = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((num_devices, *np.shape(x)), x.dtype),
      train_state)
  return step.lower(replicated, batch).compile()


def program_memory(program: Any) -> int:
  """Returns the bytes a compiled program needs on each device; 0: unknown."""
  usage = program.memory_analysis()
  if usage is None:
    return 0
  return (usage.argument_size_in_bytes + usage.output_size_in_bytes
          + usage.temp_size_in_bytes - usage.alias_size_in_bytes)


def pmap_function(function: Callable,
                  devices: Sequence[jax.Device]) -> Callable:
  """Returns a function of device arrays that runs on every device."""
  return jax.pmap(function, axis_name=AXIS, devices=devices)


def put(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Copies host arrays to the devices, their leading axis one per device."""
  mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
  spec = jax.sharding.PartitionSpec(AXIS)
  return jax.device_put(tree, jax.sharding.NamedSharding(mesh, spec))


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Copies host arrays to every device, with a leading device axis."""
  return put(jax.tree.map(
      lambda x: np.broadcast_to(x, (len(devices), *np.shape(x))), tree),
             devices)


def first(tree: Any) -> Any:
  """Copies the first device's part to the host, as numpy arrays.

  Reads the shard itself: indexing a sharded array would run a program. The
  result shares no memory with the device, so a later donation is harmless.
  """
  return jax.tree.map(
      lambda x: np.array(x.addressable_shards[0].data)[0], tree)


def gather(array: jax.Array) -> np.ndarray:
  """Copies this process's parts to the host, device axis in front."""
  return np.concatenate([np.asarray(s.data)
                         for s in array.addressable_shards])
