"""The release's parameter names and ours."""

import numpy as np

MODULES = {
    'uniter.embeddings.word_embeddings': 'text_embeddings/word',
    'uniter.embeddings.position_embeddings': 'text_embeddings/position',
    'uniter.embeddings.token_type_embeddings': 'text_embeddings/token_type',
    'uniter.embeddings.LayerNorm': 'text_embeddings/norm',
    'uniter.img_embeddings.img_linear': 'image_embeddings/feature_projection',
    'uniter.img_embeddings.pos_linear': 'image_embeddings/box_projection',
    'uniter.img_embeddings.img_layer_norm': 'image_embeddings/feature_norm',
    'uniter.img_embeddings.pos_layer_norm': 'image_embeddings/box_norm',
    'uniter.img_embeddings.LayerNorm': 'image_embeddings/norm',
    'uniter.pooler.dense': 'pooler/dense',
    'rank_output': 'rank_output',
    'itm_output': 'itm_output',
    'disc_output': 'disc_output',
    'cls.predictions': 'mlm_output',
    'cls.predictions.transform.dense': 'mlm_output/dense',
    'cls.predictions.transform.LayerNorm': 'mlm_output/norm',
    'correction_output.predictions': 'correction_output',
    'correction_output.predictions.transform.dense':
        'correction_output/dense',
    'correction_output.predictions.transform.LayerNorm':
        'correction_output/norm',
}
LAYER_MODULES = {
    'attention.self.query': 'attention/query',
    'attention.self.key': 'attention/key',
    'attention.self.value': 'attention/value',
    'attention.output.dense': 'attention/output',
    'attention.output.LayerNorm': 'attention_norm',
    'intermediate.dense': 'intermediate',
    'output.dense': 'output',
    'output.LayerNorm': 'output_norm',
}
MASK_EMBEDDING = 'uniter.img_embeddings.mask_embedding.weight'
LAYER = 'uniter.encoder.layer.'


def layer_number(name: str) -> int:
  """Returns which encoder layer a parameter is of, -1 if of none."""
  return int(name.split('.')[3]) if name.startswith(LAYER) else -1


def place(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
  """Returns our path of a parameter and the array as we keep it.

  Of the encoder's layers the path within a layer; we stack all but the last.

  Args:
    name: the release's.
    array: its value.
  Raises:
    KeyError: if the release has no such parameter.
  """
  if name == MASK_EMBEDDING:
    return 'image_embeddings/region_mask_embedding', array
  module, kind = name.rsplit('.', 1)
  path = (LAYER_MODULES[module.split('.', 4)[4]]
          if module.startswith(LAYER) else MODULES[module])
  if kind == 'bias':
    return f'{path}/bias', array
  if module.endswith('_embeddings'):
    return f'{path}/embedding', array
  if array.ndim == 1:
    return f'{path}/scale', array
  return f'{path}/kernel', array.T
