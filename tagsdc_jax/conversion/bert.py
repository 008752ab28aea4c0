"""BERT's weights as the part of UNITER that they are: the text side.

UNITER began from BERT: the same text embeddings, encoder, pooler and MLM head.
Only the names differ, so BERT's become the release's names here, and the tables
of `name_rules` do the rest.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.conversion import checking, name_rules, reading

CONFIG = 'config.json'
# A folder of Hugging Face's contains one of these, in order of preference.
_FILES = ('model.safetensors', 'pytorch_model.bin')
_EPSILON = 1e-12  # Of our LayerNorm, see models/layers.py.
# Before the names of the network, in the order in which they may come; the
# first belong to sentence-transformers.
_PREFIXES = ('0.', 'auto_model.', 'bert.')
# Tables of constants, the head for the next sentence, and heads of tasks.
_DROPPED = re.compile(
  r'embeddings\.(position_ids|token_type_ids)|cls\.seq_relationship\..+|'
  r'(classifier|qa_outputs|score)\..+'
)
_DECODER_BIAS = 'cls.predictions.decoder.bias'
_BIAS = 'cls.predictions.bias'
_TRANSFORM = 'cls.predictions.transform.'
# Other networks, by what only their names contain.
_OTHERS = {
  r'(^|\.)(albert\.|albert_layer_groups|embedding_hidden_mapping_in)': 'ALBERT',
  r'^distilbert\.|^(0\.auto_model\.)?transformer\.layer\.': 'DistilBERT',
  r'^(xlm_)?roberta\.|^lm_head\.': 'RoBERTa',
  r'^electra\.|^embeddings_project\.': 'ELECTRA',
  r'^deberta\.|rel_embeddings': 'DeBERTa',
  r'^mpnet\.|relative_attention_bias': 'MPNet',
  r'distance_embedding': 'BERT with relative positions',
}


@dataclasses.dataclass(frozen=True)
class Contents:
  """The contents of a file of BERT's.

  Attributes:
    weights: {the release's name: array}, complete for the parts that it has;
      a tied decoder is among them.
    sizes: those of settings.Model that follow from shapes.
    dropped: names in the file that are not used.
    wrapper: what was taken off all names; may be ''.
  """

  weights: dict[str, np.ndarray]
  sizes: dict[str, int]
  dropped: tuple[str, ...]
  wrapper: str


def find(source: Path) -> tuple[Path, Path | None]:
  """Returns the file of weights, and the model config beside it, if any.

  Args:
    source: a file of weights, or a folder in Hugging Face's layout.
  Raises:
    UserError: if the folder contains no such file.
  """
  if source.is_dir():
    there = [source / name for name in _FILES if (source / name).is_file()]
    if not there:
      raise errors.UserError(
        f'{source} must contain {" or ".join(_FILES)}; pass a folder of a '
        'BERT as downloaded from the Hugging Face Hub, or a file of weights'
      )
    source = there[0]
  beside = source.with_name(CONFIG)
  return source, beside if beside.is_file() else None


def check_config(path: Path) -> list[str]:
  """Returns notes on a Hugging Face config, read by `model_config` besides.

  Raises:
    UserError: if it is that of another network than BERT.
  """
  try:
    content = json.loads(path.read_bytes())
  except (OSError, ValueError):
    return []  # `model_config.read` reports it.
  if not isinstance(content, dict):
    return []
  for key, expected in (
    ('model_type', 'bert'),
    ('position_embedding_type', 'absolute'),
    ('is_decoder', False),
    ('add_cross_attention', False),
  ):
    if content.get(key, expected) != expected:
      raise errors.UserError(
        f'{path}: {key} must be {_json(expected)}, got '
        f'{_json(content[key])}; --start takes a BERT with absolute positions, '
        'such as bert-base-cased'
      )
  embedding = content.get('embedding_size')
  if embedding not in (None, content.get('hidden_size')):
    raise errors.UserError(
      f'{path}: embedding_size must be hidden_size '
      f'{content.get("hidden_size")}, as in BERT, got {embedding}; pass '
      'another model'
    )
  epsilon = content.get('layer_norm_eps', _EPSILON)
  return (
    []
    if epsilon == _EPSILON
    else [
      f'{path}: layer_norm_eps is {epsilon}; here it is {_EPSILON}, so the '
      'outputs differ slightly'
    ]
  )


def read(path: Path) -> Contents:
  """Returns the contents of a file of BERT's.

  Raises:
    UserError: if it cannot be read, is that of another network, or does not
      match exactly.
  """
  weights, wrapper = checking.unwrapped(reading.read(path), path)
  _check_family(weights, path)
  prefix = _prefix(weights)
  weights = {name.removeprefix(prefix): x for name, x in weights.items()}
  weights = checking.with_modern_names(weights, path)
  dropped = [name for name in weights if _DROPPED.fullmatch(name)]
  if not any(name.startswith(_TRANSFORM) for name in weights):
    # Without its transform, the rest of an MLM head is of no use.
    dropped += [name for name in weights if name.startswith('cls.pred')]
  elif _DECODER_BIAS in weights:
    # One parameter under two names.
    bias = weights.pop(_DECODER_BIAS)
    if not np.array_equal(weights.setdefault(_BIAS, bias), bias):
      raise errors.UserError(
        f'{path} contains {_BIAS} and {_DECODER_BIAS}, two names of one '
        'parameter, with different numbers; remove one of them'
      )
  weights = {
    _release_name(name): x for name, x in weights.items() if name not in dropped
  }
  return Contents(
    weights, _check(weights, path), tuple(sorted(dropped)), wrapper + prefix
  )


def _check_family(names: Iterable[str], path: Path) -> None:
  """Raises UserError for names that only another kind of network has."""
  for name in names:
    for pattern, family in _OTHERS.items():
      if re.search(pattern, name):
        raise errors.UserError(
          f'{path} contains {family}, judging by {name}; --start takes BERT '
          'with absolute positions, such as bert-base-cased'
        )


def _prefix(names: Iterable[str]) -> str:
  """Returns what stands before the names of the encoder in the file."""
  found = ''
  for prefix in _PREFIXES:
    if any(name.startswith(found + prefix) for name in names):
      found += prefix
  return found


def _release_name(name: str) -> str:
  return name if name.startswith('cls.') else f'uniter.{name}'


def _check(weights: Mapping[str, np.ndarray], path: Path) -> dict[str, int]:
  """Returns the sizes; raises UserError unless the parts are complete."""
  num_layers = name_rules.count_layers(weights)
  expected = {
    name: parameter.shape
    for name, parameter in name_rules.text_parameters(num_layers).items()
    # These parts may be missing, but only as a whole.
    if not name.startswith(name_rules.OPTIONAL)
    or any(
      other.startswith(part)
      for part in name_rules.OPTIONAL
      if name.startswith(part)
      for other in weights
    )
  }
  if not expected.keys() & weights.keys():
    shown = ', '.join(
      name.removeprefix('uniter.') for name in list(weights)[:3]
    )
    raise errors.UserError(
      f'{path} must contain the parameters of BERT, got {shown or "none"} '
      '...; pass its model.safetensors'
    )
  decoder = name_rules.TIED[0]
  if decoder in weights:
    expected[decoder] = expected[name_rules.WORDS]
  sizes = checking.sizes_of(weights, expected) | {'num_layers': num_layers}
  table = np.shape(weights.get(name_rules.WORDS, ()))
  if len(table) == 2 and table[1] != sizes['hidden_size']:
    raise errors.UserError(
      f'{path}: the word embedding has {table[1]} numbers per word, the '
      f'encoder {sizes["hidden_size"]}; --start takes a BERT where they are '
      'equal'
    )
  if sizes.get('num_token_types') == 1:
    raise errors.UserError(
      f'{path} has one token type, as RoBERTa does, but text and image need '
      'one each; --start takes BERT, such as bert-base-cased'
    )
  if problems := checking.mismatches(weights, expected, (), sizes):
    shown = '; '.join(problems).replace('uniter.', '')
    raise errors.UserError(
      f'{path} looks like BERT by its names, but does not match: {shown}. '
      'Nothing was converted; pass weights as saved by transformers'
    )
  return sizes


def _json(value: Any) -> str:
  return json.dumps(value)
