"""Hashes of what determines the scores of an evaluation."""

import hashlib
from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import first_pass, tiles
from tagsdc_jax.runs import folder, setup

# Images whose region features are hashed: reading all takes as long as some
# evaluations do. Another store of features differs everywhere.
_IMAGES_READ = 16
_PRECISION = ('compute.dtype', 'compute.attention',
              'compute.matmul_precision')
_VERSIONS = ('tagsdc_jax', 'jax', 'jaxlib', 'flax')


def of_evaluation(parameters: Any, data: dataset.RetrievalDataset,
                  plan: tiles.Plan, config: settings.Settings,
                  chosen: first_pass.FirstPass | None,
                  devices: list[jax.Device]) -> dict[str, Any]:
  """Returns JSON-able facts; evaluations of equal ones give equal scores.

  Args:
    parameters: on the host, as they rank.
    data: the split.
    plan: its tiles.
    config: settings of the network and its precision are read.
    chosen: the pairs that are scored; None for all.
    devices: of each process; other ones round differently.
  """
  flat = settings.flatten(config)
  versions = folder.versions()
  return {
      'parameters_sha256': setup.parameters_sha256(parameters),
      'split': data.name, 'split_sha256': of_split(data),
      'plan_sha256': _of_arrays(plan.texts, plan.images,
                                np.array(plan.widths)),
      'network': {key: value for key, value in flat.items()
                  if key.startswith('model.') or key in _PRECISION},
      'first_pass': chosen and {'sha256': chosen.sha256, 'k': chosen.k},
      'devices': [len(devices), devices[0].platform, devices[0].device_kind],
      'versions': {name: versions[name] for name in _VERSIONS}}


def of_split(data: dataset.RetrievalDataset) -> str:
  """Returns a hash of all captions, names and lengths, and of the region
  features of some images."""
  digest = hashlib.sha256()
  for caption in data.captions:
    digest.update(f'{caption.caption_id}\n{caption.image}\n'.encode())
    digest.update(np.ascontiguousarray(caption.token_ids, '<i4').tobytes())
  for image_id, number in zip(data.image_ids, data.num_regions, strict=True):
    digest.update(f'{image_id}\n{number}\n'.encode())
  last = len(data.image_ids) - 1
  for image in np.unique(np.linspace(0, last, _IMAGES_READ).astype(int)):
    regions = data.read_regions(int(image))
    digest.update(_of_arrays(regions.features, regions.boxes).encode())
  return digest.hexdigest()


def _of_arrays(*arrays: np.ndarray) -> str:
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f'{array.dtype} {array.shape}\n'.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
