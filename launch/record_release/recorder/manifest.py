"""MANIFEST.json: what was recorded, the settings, and the tolerances."""

import json
import os
from typing import Any, Dict, List

import numpy as np

from recorder import descriptions

_FORWARD_TOLERANCE = 1e-5
_SEMANTICS = {
  'forward.npz': [
    'evaluation mode; float64 keys come from the same weights widened',
    'image embedding = LN(img_layer_norm(img_linear(feat)) + '
    'pos_layer_norm(pos_linear(box7)) + token_type_embeddings[1])',
    'attention adds (1 - attn_masks) * -10000',
  ],
  'hard_negatives.npz': [
    'scored in evaluation mode; the hard_size best rows of 1..N-1 go '
    'through training mode with the positive',
    't: the training pass is cut to its longest row; i: nothing is cut',
    'i/released_gather: regions start at the length of the last text; '
    'i/fixed_gather: at the padded text width',
  ],
  'synthetic_stage1.npz': [
    'rows = caption, then M*K refills; ranked by raw logits - c1 - c2',
    'as_released: row 0 is gathered by its attention mask; fixed: by its '
    'own index; all else is the same in both',
  ],
  'synthetic_stage2.npz': [
    'rows = caption, then M*K refills; ranked by sigmoids - c1 - c2',
    'the released code raises (released_error); in both variants c1 '
    'compares with the caption instead',
    'as_released: row 0 is gathered by its attention mask; fixed: by its '
    'own index; all else is the same in both',
    'word losses: another pass over the selected rows, training mode',
  ],
  'evaluation.npz': [
    'rows are captions in id2len order, columns images sorted by name2nbb '
    '(stable); only the captions and images named here take part'
  ],
}


def tolerances(rounding: Dict[str, float]) -> Dict[str, str]:
  """Returns the tolerances for comparisons.

  Args:
    rounding: largest |float32 - float64| of each array of the forward pass.
      Two programs round differently, so the tolerance is twice the largest,
      but at least the format's 1e-5.
  """
  forward = max(_FORWARD_TOLERANCE, 2 * max(rounding.values()))
  scale = forward / _FORWARD_TOLERANCE
  return {
    'forward.npz': '{:.1e} (f32 keys), 1e-10 (f64/ keys)'.format(forward),
    'losses': '{:.1e}'.format(1e-5 * scale),
    'raw scores': '{:.1e}'.format(2e-5 * scale),
    'selections': 'exact; boundary gaps are stored',
  }


class Manifest:
  """Writes files into a folder and collects their manifest entries."""

  def __init__(self, folder: str, **head: Any) -> None:
    """`head` are the manifest's top-level entries."""
    self._folder = folder
    self._content = dict(head, files={}, other_files={})

  def add(
    self, name: str, arrays: Dict[str, np.ndarray], summary: str, **entries: Any
  ) -> None:
    """Writes an npz file and its entry.

    Args:
      name: file name.
      arrays: key -> array.
      summary: one line about the file.
      **entries: further entries about the file, such as settings and names.
    """
    np.savez(os.path.join(self._folder, name), **arrays)
    keys = {
      key: {
        'shape': list(value.shape),
        'dtype': value.dtype.name,
        'desc': descriptions.describe(name, key),
      }
      for key, value in arrays.items()
    }
    self._content['files'][name] = dict(
      {'summary': summary, 'semantics': _SEMANTICS[name], 'keys': keys},
      **entries,
    )

  def add_others(self, names: List[str], summary: str) -> None:
    """Adds files that are not npz."""
    self._content['other_files'].update(dict.fromkeys(names, summary))

  def write(self) -> None:
    """Writes MANIFEST.json."""
    with open(
      os.path.join(self._folder, 'MANIFEST.json'), 'w', encoding='utf-8'
    ) as file:
      json.dump(self._content, file, indent=1)
      file.write('\n')
