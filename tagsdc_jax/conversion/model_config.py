"""Reads the release's model config, a JSON file, as settings.Model's fields."""

import json
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, settings
from tagsdc_jax.settings import kinds

_SIZES = {
  'vocab_size': 'vocab_size',
  'hidden_size': 'hidden_size',
  'num_hidden_layers': 'num_layers',
  'num_attention_heads': 'num_heads',
  'intermediate_size': 'intermediate_size',
  'max_position_embeddings': 'max_positions',
  'type_vocab_size': 'num_token_types',
}
_RATES = ('hidden_dropout_prob', 'attention_probs_dropout_prob')


def read(path: Path) -> dict[str, Any]:
  """Returns the fields of settings.Model in the file, including `num_heads`.

  Args:
    path: such as the release's config/uniter-base.json; keys that do not affect
      the network are ignored.
  Raises:
    UserError: if it is not such a file, or the network is not supported.
  """
  with errors.named(path, 'read'):
    text = path.read_bytes()
  try:
    content = json.loads(text)
  except ValueError as error:
    raise errors.UserError(
      f"{path} must be a JSON file such as the release's "
      f'config/uniter-base.json: {error}'
    ) from error
  if not isinstance(content, dict) or 'num_attention_heads' not in content:
    raise errors.UserError(
      f"{path} must contain num_attention_heads, as the release's "
      'config/uniter-base.json does; pass that file, or --num-heads'
    )
  model: dict[str, Any] = {}
  for key, name in _SIZES.items():
    if key in content:
      model[name] = _value(path, name, key, content[key])
  if content.get('hidden_act', 'gelu') != 'gelu':
    raise errors.UserError(
      f'{path}: hidden_act must be gelu, the only one '
      f'supported, got {content["hidden_act"]!r}'
    )
  return model | _rates(content, path)


def _rates(content: dict[str, Any], path: Path) -> dict[str, Any]:
  """Returns the dropout rate and initializer range, if the file has them."""
  rates = {content[key] for key in _RATES if key in content}
  if len(rates) > 1:
    raise errors.UserError(
      f'{path}: {" and ".join(_RATES)} must be equal, got '
      f'{" and ".join(str(content[key]) for key in _RATES)}; make them equal: '
      'training sets a single rate anyway (model.dropout_rate)'
    )
  result = {'dropout_rate': rates.pop()} if rates else {}
  if 'initializer_range' in content:
    result['initializer_range'] = content['initializer_range']
  return {
    name: _value(path, name, name, value) for name, value in result.items()
  }


def _value(path: Path, name: str, key: str, value: Any) -> Any:
  """Returns the value of a size or rate; raises UserError if out of range."""
  try:
    return kinds.taken(
      f'{path}: {key}', settings.ALL[f'model.{name}'].kind, value
    )
  except ValueError as error:
    raise errors.UserError(str(error)) from error
