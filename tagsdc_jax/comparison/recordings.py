"""A folder of recordings of the PyTorch release.

MANIFEST.json says of every array what it is, and of the whole folder sizes,
special ids and settings; nothing here or in the comparisons knows them from
elsewhere.
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
    folder: where it lies.
    manifest: the content of MANIFEST.json.
    x64: whether float64 arrays are compared as well.
    opened: the files of arrays that were asked for.
    used: names of the other files that were.
  """

  folder: Path
  manifest: dict[str, Any]
  x64: bool = False
  opened: dict[str, Arrays] = dataclasses.field(default_factory=dict)
  used: set[str] = dataclasses.field(default_factory=set)

  def entry(self, name: str) -> dict[str, Any]:
    """Returns what the manifest says of a file of arrays."""
    return self.manifest['files'].get(name, {})

  def note(self, name: str, *keys: str) -> Any:
    """Returns one value of `entry`; raises Missing if it is not there."""
    value: Any = self.entry(name)
    for key in keys:
      if not isinstance(value, dict) or key not in value:
        raise Missing(f'{MANIFEST} has no {" / ".join(keys)} for {name}')
      value = value[key]
    return value

  def tolerance(self, name: str, least: float) -> float:
    """Returns what an error may be, from the manifest where it is more.

    Args:
      name: an entry of the manifest's `tolerances`, whose text begins with a
        number.
      least: the tolerance that is usual.
    """
    text = self.manifest.get('tolerances', {}).get(name, '')
    found = _NUMBER.match(str(text))
    return max(least, float(found[0])) if found else least

  def checkpoint(self, name: str, usual: str) -> str:
    """Returns the file of weights that a file of arrays was computed with.

    Args:
      name: of the file of arrays; its entry may name the `checkpoint`.
      usual: where it does not.
    """
    given = self.entry(name).get('checkpoint')
    return usual if given is None else f'{given}.safetensors'

  def arrays(self, name: str) -> Arrays:
    """Returns the arrays of a file; they are read when asked for."""
    if name not in self.opened:
      self.opened[name] = Arrays(name, open_arrays(self.folder / name))
    return self.opened[name]

  def path(self, name: str) -> Path:
    """Returns where a file or folder lies, and notes that it is used."""
    self.used.add(name)
    path = self.folder / name
    if not path.exists():
      raise Missing(f'{name} is not in the folder')
    return path

  def json(self, name: str) -> Any:
    """Returns the content of a JSON file."""
    return read_json(self.path(name))

  def model(self, sizes: Mapping[str, Any] | None = None) -> settings.Model:
    """Returns the network's sizes, without dropout.

    Args:
      sizes: in the release's words; the manifest's if not given.
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
        f'{self.folder / MANIFEST}: model must give whole numbers as '
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
        f'{self.folder / MANIFEST}: special_ids must give whole numbers as '
        f'{", ".join(_SPECIAL)} (two of them), got {ids}'
      ) from error

  def weights(self, name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file, by the release's names.

    Args:
      name: of the file.
    Raises:
      UserError: if it cannot be read or copies of tied weights disagree.
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
    """Returns the parameters of a safetensors file as our network's.

    Without the heads of UNITER's masked-region pretraining, which no phase
    has.
    """
    return converting.to_parameters(
      {
        key: array
        for key, array in self.weights(name).items()
        if not key.startswith(name_rules.DROPPED)
      }
    )


def clip_norm(options: Mapping[str, Any]) -> float | None:
  """Returns settings.Optimizer's; the release clips unless it is -1."""
  return None if options['grad_norm'] == -1 else options['grad_norm']


def without_copies(
  weights: Mapping[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
  """Returns the weights without the copies that tied decoders are.

  Raises:
    UserError: if a copy is not equal to the word embedding.
  """
  words = name_rules.WORDS
  for key, array in weights.items():
    if key in name_rules.TIED and not np.array_equal(array, weights[words]):
      raise errors.UserError(
        f'{name}: {key} must equal {words}, which it is '
        'tied to; write the file again'
      )
  return {
    key: array for key, array in weights.items() if key not in name_rules.TIED
  }


def open_folder(folder: Path, *, x64: bool = False) -> Recordings:
  """Opens a folder and checks that everything in it can be read.

  Args:
    folder: with a MANIFEST.json.
    x64: whether float64 arrays are compared as well.
  Raises:
    UserError: if folder or manifest are missing, or a file is damaged.
  """
  if not folder.is_dir():
    raise errors.UserError(
      f'{folder} must be a folder of recordings with a '
      f'{MANIFEST}, but there is no such folder'
    )
  path = folder / MANIFEST
  if not path.is_file():
    raise errors.UserError(
      f'{folder} holds no {MANIFEST}; give a folder of '
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
        f'{path} must hold a dictionary {part!r}, got '
        f'{type(content).__name__}; copy it again'
      )
    lacking = [key for key in keys if key not in content]
    if lacking:
      raise errors.UserError(
        f'{path}: {part} must give {", ".join(keys)}, '
        f'but {lacking[0]} is not there'
      )
  for name, entry in manifest['files'].items():
    if not isinstance(entry, dict) or not isinstance(entry.get('keys'), dict):
      raise errors.UserError(
        f'{path}: the entry of {name} must hold a '
        "dictionary 'keys' of its arrays"
      )
