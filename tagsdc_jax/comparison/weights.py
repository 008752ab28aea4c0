"""Files of weights and model_config.json: checked against the manifest."""

import functools
from collections.abc import Iterator

import numpy as np
from flax import traverse_util

from tagsdc_jax import errors, settings
from tagsdc_jax.comparison import items
from tagsdc_jax.comparison.recordings import MANIFEST, Recordings
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel

CONFIG = 'model_config.json'
_SAFETENSORS, _TORCH = '.safetensors', '.pt'
# Heads that a file may lack, since earlier phases do not have them.
_OPTIONAL = ('rank_output', 'disc_output', 'correction_output')


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields one item per file that is in both the manifest and the folder."""
  for name in recordings.manifest.get('other_files', {}):
    if not (recordings.folder / name).exists():
      continue
    try:
      if name == CONFIG:
        theirs, ours = recordings.json(name), recordings.manifest['model']
        yield items.equal(
          name,
          'model',
          {key: ours.get(key) for key in theirs},
          theirs,
          note=f'against {MANIFEST}',
        )
      elif name.endswith(_SAFETENSORS):
        yield _shapes(recordings, name)
      elif name.endswith(_TORCH):
        recordings.path(name)
        yield items.Item(
          name,
          'the file',
          items.SKIPPED,
          note='for tagsdc convert; not compared here',
        )
    except (errors.UserError, KeyError) as error:
      yield items.Item(name, 'the file', items.FAILS, note=str(error))


@functools.lru_cache(maxsize=4)
def _wanted(config: settings.Model) -> dict[tuple[str, ...], tuple[int, ...]]:
  """Returns the shape of each of our parameters."""
  shapes = retrieval.parameter_shapes(RetrievalModel(config))
  return {
    path: tuple(shape.shape)
    for path, shape in traverse_util.flatten_dict(shapes).items()
  }


def _shapes(recordings: Recordings, name: str) -> items.Item:
  """Compares the names and shapes of the parameters."""
  wanted = _wanted(recordings.model())
  actual = {
    path: np.shape(array)
    for path, array in traverse_util.flatten_dict(
      recordings.parameters(name)
    ).items()
  }
  wanted = {
    path: shape
    for path, shape in wanted.items()
    if path in actual or path[0] not in _OPTIONAL
  }
  differing = sorted(
    '/'.join(path)
    for path in wanted.keys() | actual.keys()
    if wanted.get(path) != actual.get(path)
  )
  return items.equal(
    name,
    'names and shapes',
    differing,
    [],
    note=f'{len(actual)} parameters; ours: names that differ',
  )
