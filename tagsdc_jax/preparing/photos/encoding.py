"""Runs a vision transformer on photos, in batches of one fixed size."""

import functools
import threading
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tagsdc_jax.arrays import Array
from tagsdc_jax.conversion import vision_config, vision_weights
from tagsdc_jax.models import vision_transformer
from tagsdc_jax.runtime import parallel

# Photos per device and batch. A CPU is as fast with one, and the result for a
# photo then cannot depend on its place in a batch.
_BATCH = {'cpu': 1}
_BATCH_ELSEWHERE = 32


class RegionEncoder:
  """Computes weighted means of the patch tokens of photos.

  Runs on all local devices. One program is compiled; the last batch is padded.

  Attributes:
    side: of the square input, in pixels.
    rows: rows, and columns, of patches.
  """

  def __init__(
    self, encoder: vision_weights.VisionEncoder, num_regions: int
  ) -> None:
    """Makes the encoder.

    Args:
      encoder: a vision transformer with its weights.
      num_regions: of every photo, padding included.
    """
    devices = parallel.local_devices(0)
    self._devices = devices
    self._per_device = _BATCH.get(devices[0].platform, _BATCH_ELSEWHERE)
    self._num_regions = num_regions
    self._preprocessing = encoder.preprocessing
    self._params = parallel.replicate(dict(encoder.params), devices)
    self._run = parallel.pmap_function(
      functools.partial(_encode, encoder.config, encoder.preprocessing), devices
    )
    self.side = encoder.preprocessing.size
    self.rows = self.side // encoder.config.patch_size

  @property
  def batch_size(self) -> int:
    """Returns the photos of a batch."""
    return self._per_device * len(self._devices)

  def pixels_of(self, image: Image.Image) -> UInt8[np.ndarray, 'side side 3']:
    """Returns the whole photo as the square input, not yet normalized."""
    side = self.side
    filter_ = Image.Resampling(self._preprocessing.resampling)
    return np.asarray(image.resize((side, side), filter_))

  def start(
    self,
    pixels: Sequence[UInt8[np.ndarray, 'side side 3']],
    weights: Sequence[Float[np.ndarray, 'regions patches']],
  ) -> Any:
    """Starts the computation for at most batch_size photos; see `finish`.

    Args:
      pixels: of each photo.
      weights: of the patches, row by row, in each region; up to num_regions.
    """
    side = self.side
    count = len(self._devices), self._per_device
    all_pixels = np.zeros((self.batch_size, side, side, 3), np.uint8)
    all_weights = np.zeros(
      (self.batch_size, self._num_regions, self.rows**2), np.float32
    )
    for row, (picture, of_regions) in enumerate(zip(pixels, weights)):
      all_pixels[row] = picture
      all_weights[row, : len(of_regions)] = of_regions
    batch = (
      all_pixels.reshape(*count, *all_pixels.shape[1:]),
      all_weights.reshape(*count, *all_weights.shape[1:]),
    )
    result = self._run(self._params, *parallel.put(batch, self._devices))
    return result, [len(of_regions) for of_regions in weights]

  def finish(self, started: Any) -> list[Float[np.ndarray, 'regions F']]:
    """Returns the float32 features of each photo given to `start`."""
    result, counts = started
    features = parallel.gather(result).reshape(
      self.batch_size, self._num_regions, -1
    )
    return [features[row, :count].copy() for row, count in enumerate(counts)]


def _encode(
  config: vision_transformer.VisionConfig,
  how: vision_config.Preprocessing,
  params: Any,
  pixels: UInt8[Array, 'pictures side side 3'],
  weights: Float[Array, 'pictures regions patches'],
) -> Float[Array, 'pictures regions F']:
  """Returns the weighted means of the patch tokens of every picture."""
  mean, std = (
    jnp.asarray(x, jnp.float32)[None, None, None] for x in (how.mean, how.std)
  )
  normalized = (pixels.astype(jnp.float32) * how.rescale - mean) / std
  network = vision_transformer.VisionTransformer(config)
  patches, _ = network.apply({'params': params}, normalized)
  patches = patches.reshape(*weights.shape[::2], -1)
  return jnp.einsum('prn,pnf->prf', weights, patches, precision='highest')


class LazyEncoder:
  """A vision transformer that is loaded again in every copy of a pickle.

  Attributes:
    weights: of the vision transformer.
  """

  def __init__(self, name: str, size: int | None, num_regions: int) -> None:
    """Loads the weights, not yet to a device.

    Raises:
      UserError: if they cannot be loaded.
    """
    self._arguments = name, size, num_regions
    self._encoder: RegionEncoder | None = None
    self._lock = threading.Lock()
    self.weights = vision_weights.load(name, size)

  def get(self) -> RegionEncoder:
    """Returns the encoder, on the devices."""
    with self._lock:
      if self._encoder is None:
        self._encoder = RegionEncoder(self.weights, self._arguments[2])
      return self._encoder

  def __getstate__(self) -> tuple[str, int | None, int]:
    return self._arguments

  def __setstate__(self, arguments: tuple[str, int | None, int]) -> None:
    self.__init__(*arguments)  # type: ignore[misc]
