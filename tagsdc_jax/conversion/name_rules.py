"""The release's parameters: names, shapes, and their places in our tree."""

import re
from collections.abc import Iterable
from typing import NamedTuple

Shape = tuple[int | str, ...]

# Tied to the word embedding: the release's files contain another copy of the
# table for each decoder. In the order in which its classes register them.
WORDS = 'uniter.embeddings.word_embeddings.weight'
TIED = (
  'cls.predictions.decoder.weight',
  'correction_output.predictions.decoder.weight',
)
# Prefixes of all names: from torch's wrappers for multiple devices and for
# compilation, and from the position in a training state.
WRAPPERS = (
  'module.',
  '_orig_mod.',
  'state_dict.',
  'model_state_dict.',
  'model.',
)
# Parts of BERT's that a file may lack.
OPTIONAL = ('uniter.pooler.', 'cls.predictions.')
# Heads of UNITER's pretraining that are not used here.
DROPPED = ('feat_regress.', 'region_classifier.')

# Names of sizes in settings.Model.
_VOCAB, _HIDDEN, _FEATURES = 'vocab_size', 'hidden_size', 'feature_size'
_INNER = 'intermediate_size'


class Parameter(NamedTuple):
  """The place in our tree and the shape of a parameter of the release."""

  path: str  # For layers, below `encoder/layers` or `encoder/last_layer`.
  shape: Shape  # The release's; strings name sizes of settings.Model.

  @property
  def is_transposed(self) -> bool:
    """Whether ours is transposed, as for torch's linear layers."""
    return self.path.endswith('/kernel')


def _linear(
  release: str, ours: str, outputs: int | str, inputs: int | str
) -> dict[str, Parameter]:
  return {
    f'{release}.weight': Parameter(f'{ours}/kernel', (outputs, inputs)),
    f'{release}.bias': Parameter(f'{ours}/bias', (outputs,)),
  }


def _norm(release: str, ours: str) -> dict[str, Parameter]:
  return {
    f'{release}.weight': Parameter(f'{ours}/scale', (_HIDDEN,)),
    f'{release}.bias': Parameter(f'{ours}/bias', (_HIDDEN,)),
  }


def _table(name: str, rows: str) -> dict[str, Parameter]:
  return {
    f'uniter.embeddings.{name}_embeddings.weight': Parameter(
      f'text_embeddings/{name}/embedding', (rows, _HIDDEN)
    )
  }


def _word_head(release: str, ours: str) -> dict[str, Parameter]:
  return {
    f'{release}.predictions.bias': Parameter(f'{ours}/bias', (_VOCAB,)),
    **_linear(
      f'{release}.predictions.transform.dense',
      f'{ours}/dense',
      _HIDDEN,
      _HIDDEN,
    ),
    **_norm(f'{release}.predictions.transform.LayerNorm', f'{ours}/norm'),
  }


_IMAGES = 'uniter.img_embeddings'
_EMBEDDINGS = {
  **_table('word', _VOCAB),
  **_table('position', 'max_positions'),
  **_table('token_type', 'num_token_types'),
  **_norm('uniter.embeddings.LayerNorm', 'text_embeddings/norm'),
  **_linear(
    f'{_IMAGES}.img_linear',
    'image_embeddings/feature_projection',
    _HIDDEN,
    _FEATURES,
  ),
  **_norm(f'{_IMAGES}.img_layer_norm', 'image_embeddings/feature_norm'),
  **_norm(f'{_IMAGES}.pos_layer_norm', 'image_embeddings/box_norm'),
  **_linear(
    f'{_IMAGES}.pos_linear', 'image_embeddings/box_projection', _HIDDEN, 7
  ),
  f'{_IMAGES}.mask_embedding.weight': Parameter(
    'image_embeddings/region_mask_embedding', (2, _FEATURES)
  ),
  **_norm(f'{_IMAGES}.LayerNorm', 'image_embeddings/norm'),
}
_LAYER = {
  **_linear('attention.self.query', 'attention/query', _HIDDEN, _HIDDEN),
  **_linear('attention.self.key', 'attention/key', _HIDDEN, _HIDDEN),
  **_linear('attention.self.value', 'attention/value', _HIDDEN, _HIDDEN),
  **_linear('attention.output.dense', 'attention/output', _HIDDEN, _HIDDEN),
  **_norm('attention.output.LayerNorm', 'attention_norm'),
  **_linear('intermediate.dense', 'intermediate', _INNER, _HIDDEN),
  **_linear('output.dense', 'output', _HIDDEN, _INNER),
  **_norm('output.LayerNorm', 'output_norm'),
}
_POOLER = _linear('uniter.pooler.dense', 'pooler/dense', _HIDDEN, _HIDDEN)
# The heads that each phase adds.
_HEADS = {
  'pretrain': {
    **_word_head('cls', 'mlm_output'),
    **_linear('itm_output', 'itm_output', 2, _HIDDEN),
  },
  'tags': _linear('rank_output', 'rank_output', 1, _HIDDEN),
  'dc': {
    **_linear('disc_output', 'disc_output', 2, _HIDDEN),
    **_word_head('correction_output', 'correction_output'),
  },
}
_LAYER_NAME = re.compile(r'uniter\.encoder\.layer\.(\d+)\.(.+)')
_OLD_KINDS = {'gamma': 'weight', 'beta': 'bias'}


def layer_of(name: str) -> tuple[int, str]:
  """Returns the encoder layer in a name, -1 if none, and the rest of it."""
  match = _LAYER_NAME.fullmatch(name)
  return (int(match[1]), match[2]) if match else (-1, name)


def place(name: str) -> Parameter:
  """Returns the place in our tree and shape of a parameter of the release.

  Raises:
    KeyError: if the release has no such parameter, or it is a tied copy.
  """
  layer, rest = layer_of(name)
  return _OUTSIDE_LAYERS[name] if layer < 0 else _LAYER[rest]


def parameters(phase: str, num_layers: int) -> dict[str, Parameter]:
  """Returns all parameters of a phase's network, without tied copies.

  Args:
    phase: one of settings.PHASES; `pretrain` is UNITER without DROPPED.
    num_layers: the number of encoder layers.
  """
  result = dict(_EMBEDDINGS)
  for layer in range(num_layers):
    result |= {
      f'uniter.encoder.layer.{layer}.{rest}': parameter
      for rest, parameter in _LAYER.items()
    }
  result |= _POOLER
  for name, head in _HEADS.items():
    result |= head
    if name == phase:
      return result
  raise ValueError(f'phase must be one of {", ".join(_HEADS)}, got {phase!r}')


def text_parameters(num_layers: int) -> dict[str, Parameter]:
  """Returns the parameters that UNITER has in common with BERT."""
  return {
    name: parameter
    for name, parameter in parameters('pretrain', num_layers).items()
    if not name.startswith((f'{_IMAGES}.', 'itm_output.'))
  }


def count_layers(names: Iterable[str]) -> int:
  """Returns the number of encoder layers that occur in names, at least 1."""
  layers = (layer_of(name) for name in names)
  return max(
    len({layer for layer, rest in layers if layer >= 0 and rest in _LAYER}), 1
  )


def tied(phase: str) -> tuple[str, ...]:
  """Returns the names of a phase's copies of the word embedding."""
  return TIED if phase == 'dc' else TIED[:1]


def heads_after(phase: str) -> tuple[str, ...]:
  """Returns our names of the heads that later phases add."""
  phases = list(_HEADS)
  later = phases[phases.index(phase) + 1 :]
  return tuple(
    dict.fromkeys(
      parameter.path.split('/')[0]
      for name in later
      for parameter in _HEADS[name].values()
    )
  )


def recognize(names: Iterable[str]) -> str:
  """Returns the last phase that added any of the heads in names."""
  tops = {name.split('.')[0] for name in names}
  found = [
    phase
    for phase, head in _HEADS.items()
    if tops & {name.split('.')[0] for name in head}
  ]
  return found[-1] if found else 'pretrain'


def modern(name: str) -> str:
  """Returns the current name of a parameter: LayerNorm used gamma and beta.

  The release replaces these words anywhere in a name; in the names that it
  knows they only occur at the end.
  """
  head, dot, kind = name.rpartition('.')
  return head + dot + _OLD_KINDS.get(kind, kind)


_OUTSIDE_LAYERS = {
  name: parameter
  for part in (_EMBEDDINGS, _POOLER, *_HEADS.values())
  for name, parameter in part.items()
}
