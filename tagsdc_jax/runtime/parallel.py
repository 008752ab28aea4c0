"""jax.pmap, replication and transfers: the only module that addresses devices.

Arrays have a leading device axis. On the host it covers the devices of this
process; on devices, those of this process, or of all processes if the function
runs on all.
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
      f'num_devices must be at most {len(devices)}, the number of '
      f'{devices[0].platform} devices of this process, got {number}'
    )
  return devices[: number or None]


def all_devices(devices: Sequence[jax.Device]) -> list[jax.Device]:
  """Returns the devices of all processes, in process order.

  Args:
    devices: this process's, from `local_devices`; the others use as many.
  """
  return [
    device
    for process in range(jax.process_count())
    for device in jax.local_devices(process_index=process)[: len(devices)]
  ]


def pmap_step(
  step: Callable, devices: Sequence[jax.Device], donated: tuple[int, ...] = (0,)
) -> Callable:
  """Returns the step, mapped over all devices.

  Args:
    step: what each device runs; AXIS is the name of the device axis.
    devices: those of all processes.
    donated: indices of the arguments whose memory may be reused.
  """
  return jax.pmap(step, axis_name=AXIS, devices=devices, donate_argnums=donated)


def compile_step(step: Any, arguments: Sequence[Any], num_devices: int) -> Any:
  """Compiles a step from `pmap_step`; the result is called in the same way.

  Its arguments and results are on the devices of all processes.

  Args:
    step: over the devices of all processes.
    arguments: trees of arrays or shapes for one device; only shapes are read.
    num_devices: per process.
  """
  everywhere = num_devices * jax.process_count()

  def shape(x: Any) -> Any:
    # Not a ShapeDtypeStruct: with several processes, pmap does not accept it.
    return jax.typeof(jax.ShapeDtypeStruct((everywhere, *np.shape(x)), x.dtype))

  return step.lower(*jax.tree.map(shape, list(arguments))).compile()


def of_one_device(tree: Any) -> Any:
  """Returns shapes without their leading device axis."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), tree
  )


def program_memory(program: Any) -> int:
  """Returns the bytes a compiled program needs per device; 0: unknown."""
  usage = program.memory_analysis()
  if usage is None:
    return 0
  return (
    usage.argument_size_in_bytes
    + usage.output_size_in_bytes
    + usage.temp_size_in_bytes
    - usage.alias_size_in_bytes
  )


def pmap_function(
  function: Callable, devices: Sequence[jax.Device]
) -> Callable:
  """Returns a function of device arrays, mapped over the devices."""
  return jax.pmap(function, axis_name=AXIS, devices=devices)


def put(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Copies host arrays to the devices, one row of the leading axis to each.

  Args:
    tree: arrays, this process's part.
    devices: this process's, or those of all processes; then all must call it.
  """
  sharding = _over(devices)
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, x), tree
  )


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
  """Copies host arrays to every device, with a leading device axis."""
  count = len(_of_process(devices))
  return put(
    jax.tree.map(lambda x: np.broadcast_to(x, (count, *np.shape(x))), tree),
    devices,
  )


def local(tree: Any) -> Any:
  """Returns this process's part of arrays on all devices, without a copy.

  The result becomes invalid when the arrays are donated.
  """

  def part(array: jax.Array) -> jax.Array:
    if array.is_fully_addressable:
      return array
    shards = [s.data for s in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(
      (len(shards), *array.shape[1:]), _over([s.device for s in shards]), shards
    )

  return jax.tree.map(part, tree)


def make_vote(devices: Sequence[jax.Device]) -> Callable[[bool], jax.Array]:
  """Returns a function that counts the devices whose process sets a flag.

  All processes must call it at the same point of the run. The result is ready
  when the devices have finished their earlier work, so read it late.

  Args:
    devices: those of all processes.
  """
  count = jax.pmap(
    lambda x: jax.lax.psum(x, AXIS), axis_name=AXIS, devices=devices
  )
  number = len(_of_process(devices))
  return lambda flag: count(np.full(number, flag, np.int32))


def first(tree: Any) -> Any:
  """Copies the first device's part to the host, as numpy arrays.

  Reads the shard itself: indexing a sharded array would run a program. The
  result shares no memory with the device, so a later donation is harmless.
  """
  return jax.tree.map(lambda x: np.array(x.addressable_shards[0].data)[0], tree)


def is_ready(array: Any) -> bool:
  """Returns whether the devices have finished computing an array."""
  return array.is_ready()


def gather(array: jax.Array) -> np.ndarray:
  """Copies this process's part to the host, with a leading device axis."""
  return np.concatenate([np.asarray(s.data) for s in array.addressable_shards])


def _of_process(devices: Sequence[jax.Device]) -> list[jax.Device]:
  return [d for d in devices if d.process_index == jax.process_index()]


def _over(devices: Sequence[jax.Device]) -> jax.sharding.NamedSharding:
  mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
