"""A folder of recordings of the PyTorch release.

MANIFEST.json describes every array and contains the sizes, special ids and
settings; the comparisons take these from nowhere else.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tagsdc_jax import errors, files, settings
from tagsdc_jax.comparison.stored import Arrays, Missing, open_arrays, read_json
from tagsdc_jax.conversion import converting, name_rules
from tagsdc_jax.data.dataset import Vocabulary

MANIFEST = 'MANIFEST.json'
_NUMBER = re.compile(r'\d+(\.\d+)?(e-?\d+)?')
_MODEL = {
  'num_layers': 'num_hidden_layers',
  'hidden_size': 'hidden_size',
  'num_heads': 'num_attention_heads',
  'intermediate_size': 'intermediate_size',
  'max_positions': 'max_position_embeddings',
  'num_token_types': 'type_vocab_size',
  'vocab_size': 'vocab_size',
  'feature_size': 'img_dim',
}
_SPECIAL = ('PAD', 'UNK', 'CLS', 'SEP', 'MASK', 'v_range')


@dataclasses.dataclass(frozen=True)
class Recordings:
  """An opened folder.

  Attributes:
    folder: its path.
    manifest: the contents of MANIFEST.json.
    x64: whether float64 arrays are compared as well.
    opened: the files of arrays that were used.
    used: names of the other files that were used.
  """

  folder: Path
  manifest: dict[str, Any]
  x64: bool = False
  opened: dict[str, Arrays] = dataclasses.field(default_factory=dict)
  used: set[str] = dataclasses.field(default_factory=set)

  def entry(self, name: str) -> dict[str, Any]:
    """Returns the manifest's entry for a file of arrays; {} if none."""
    return self.manifest['files'].get(name, {})

  def note(self, name: str, *keys: str) -> Any:
    """Returns one value of `entry`; raises Missing if there is none."""
    value: Any = self.entry(name)
    for key in keys:
      if not isinstance(value, dict) or key not in value:
        raise Missing(f'{MANIFEST} has no {" / ".join(keys)} for {name}')
      value = value[key]
    return value

  def tolerance(self, name: str, least: float) -> float:
    """Returns a tolerance: the manifest's if it is larger than the default.

    Args:
      name: an entry of the manifest's `tolerances`, text that starts with a
        number.
      least: the default tolerance.
    """
    text = self.manifest.get('tolerances', {}).get(name, '')
    found = _NUMBER.match(str(text))
    return max(least, float(found[0])) if found else least

  def checkpoint(self, name: str, usual: str) -> str:
    """Returns the file of weights that a file of arrays was computed with.

    Args:
      name: name of the file of arrays; its entry may name the `checkpoint`.
      usual: the file of weights if it does not.
    """
    given = self.entry(name).get('checkpoint')
    return usual if given is None else f'{given}.safetensors'

  def arrays(self, name: str) -> Arrays:
    """Returns the arrays of a file; they are read on access."""
    if name not in self.opened:
      self.opened[name] = Arrays(name, open_arrays(self.folder / name))
    return self.opened[name]

  def path(self, name: str) -> Path:
    """Returns the path of a file or folder and marks it as used."""
    self.used.add(name)
    path = self.folder / name
    if not path.exists():
      raise Missing(f'{name} is not in the folder')
    return path

  def json(self, name: str) -> Any:
    """Returns the contents of a JSON file."""
    return read_json(self.path(name))

  def model(self, sizes: Mapping[str, Any] | None = None) -> settings.Model:
    """Returns the network's sizes, with dropout off.

    Args:
      sizes: by the release's names; None means the manifest's.
    """
    sizes = self.manifest['model'] if sizes is None else sizes
    try:
      wanted: dict[str, Any] = {
        ours: settings.check_value(f'model.{ours}', int(sizes[theirs]))
        for ours, theirs in _MODEL.items()
      }
      return settings.Model(dropout_rate=0.0, **wanted)
    except (KeyError, TypeError, ValueError) as error:
      raise errors.UserError(
        f'{self.folder / MANIFEST}: model must contain integers for '
        f'{", ".join(_MODEL.values())}, got {sizes}'
      ) from error

  def vocabulary(self) -> Vocabulary:
    """Returns the special ids."""
    ids = self.manifest['special_ids']
    try:
      low, high = map(int, ids['v_range'])
      special: dict[str, Any] = {
        key.lower(): int(ids[key]) for key in _SPECIAL if key != 'v_range'
      }
      return Vocabulary(
        size=self.model().vocab_size, random_range=(low, high), **special
      )
    except (TypeError, ValueError) as error:
      raise errors.UserError(
        f'{self.folder / MANIFEST}: special_ids must contain integers for '
        f'{", ".join(_SPECIAL)} (a pair), got {ids}'
      ) from error

  def weights(self, name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file, by the release's names.

    Args:
      name: name of the file.
    Raises:
      UserError: if it cannot be read, or copies of tied weights differ.
    """
    path = self.path(name)
    try:
      weights = load_file(path)
    except Exception as error:  # safetensors raises its own, and OSErrors.
      found = files.kind_of_text(path)
      raise errors.UserError(
        f'{path} is {found}'
        if found
        else f'{path} cannot be read as safetensors ({error}); copy it again'
      ) from error
    return without_copies(weights, str(path))

  def parameters(self, name: str) -> Any:
    """Returns the parameters of a safetensors file as our parameter tree.

    The heads of UNITER's masked-region pretraining, which no phase here has,
    are omitted.
    """
    return converting.to_parameters(
      {
        key: array
        for key, array in self.weights(name).items()
        if not key.startswith(name_rules.DROPPED)
      }
    )


def clip_norm(options: Mapping[str, Any]) -> float | None:
  """Returns the value for settings.Optimizer; -1 in the release means None."""
  return None if options['grad_norm'] == -1 else options['grad_norm']


def without_copies(
  weights: Mapping[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
  """Returns the weights without the tied decoders, copies of the embedding.

  Raises:
    UserError: if a copy differs from the word embedding.
  """
  words = name_rules.WORDS
  for key, array in weights.items():
    if key in name_rules.TIED and not np.array_equal(array, weights[words]):
      raise errors.UserError(
        f'{name}: {key} must equal {words}, to which it is '
        'tied; write the file again'
      )
  return {
    key: array for key, array in weights.items() if key not in name_rules.TIED
  }


def open_folder(folder: Path, *, x64: bool = False) -> Recordings:
  """Opens a folder and checks that all its files of arrays can be read.

  Args:
    folder: a folder with a MANIFEST.json.
    x64: whether float64 arrays are compared as well.
  Raises:
    UserError: if the folder or manifest is missing, or a file is damaged.
  """
  if not folder.is_dir():
    raise errors.UserError(
      f'{folder} must be a folder of recordings with a '
      f'{MANIFEST}, but it does not exist'
    )
  path = folder / MANIFEST
  if not path.is_file():
    raise errors.UserError(
      f'{folder} contains no {MANIFEST}; pass a folder of '
      'recordings of the PyTorch release'
    )
  manifest = read_json(path)
  _check_manifest(path, manifest)
  for name in manifest['files']:
    if (folder / name).is_file():
      open_arrays(folder / name, check=True)
  opened = Recordings(folder, manifest, x64)
  opened.model()
  opened.vocabulary()
  return opened


def _check_manifest(path: Path, manifest: Any) -> None:
  wanted = {'files': (), 'model': _MODEL.values(), 'special_ids': _SPECIAL}
  for part, keys in wanted.items():
    content = manifest.get(part) if isinstance(manifest, dict) else None
    if not isinstance(content, dict):
      raise errors.UserError(
        f'{path} must contain a dictionary {part!r}, got '
        f'{type(content).__name__}; copy it again'
      )
    lacking = [key for key in keys if key not in content]
    if lacking:
      raise errors.UserError(
        f'{path}: {part} must contain {", ".join(keys)}, '
        f'but {lacking[0]} is missing'
      )
  for name, entry in manifest['files'].items():
    if not isinstance(entry, dict) or not isinstance(entry.get('keys'), dict):
      raise errors.UserError(
        f'{path}: the entry of {name} must contain a '
        "dictionary 'keys' of its arrays"
      )
