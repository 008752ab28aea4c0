"""hard_negatives.npz: retrieved negatives of a caption and of an image."""

from typing import Dict

import numpy as np
import torch

from recorder import batches
from recorder.arrays import array, boundary_gap, hinge_min_abs
from recorder.batches import Batch
from recorder.progress import Progress, counting
from recorder.release import Release
from recorder.watching import logged

_INPUTS = (
  'input_ids',
  'position_ids',
  'img_feat',
  'img_pos_feat',
  'attn_masks',
)


def record(
  release: Release, model: torch.nn.Module, text: Batch, image: Batch
) -> Dict[str, np.ndarray]:
  """Returns the arrays of hard_negatives.npz.

  Args:
    release: its modules.
    model: network of either stage, dropout 0.
    text: a caption with many images, from `batches.from_text`.
    image: an image with many captions, from `batches.from_image`.
  """
  rows = len(text['attn_masks']) + 2 * len(image['attn_masks'])
  progress = Progress('hard negatives', rows + 3 * (model.hard_size + 1))
  out = {}
  for path, batch in (('t', text), ('i', image)):
    out.update(
      {'{}/{}'.format(path, name): array(batch[name]) for name in _INPUTS}
    )
  with counting(progress, model.uniter.encoder.layer):
    out.update(_run(model, text, 't', 't/'))
    out.update(_run(model, image, 'i', 'i/released_gather/'))
    out.update(
      _run(
        model, batches.with_true_gather(release, image), 'i', 'i/fixed_gather/'
      )
    )
  return out


def _run(
  model: torch.nn.Module, batch: Batch, path: str, prefix: str
) -> Dict[str, np.ndarray]:
  """Returns one path's scores, selection and losses."""
  model.train()
  with torch.no_grad():
    with logged(model, 'forward_uniter') as passes:
      with logged(torch.Tensor, 'topk') as picks:
        # The release modifies the dictionary that it is given.
        outputs = model(dict(batch), sample_from=path, compute_loss=True)
  scoring, training = passes
  # The positive, row 0, cannot be selected.
  selected = picks[0].result[1] + 1
  sigmoids = torch.sigmoid(training.result['rank_scores']).reshape(-1)
  loss = outputs['rank_loss']
  found = {
    'gather_index': batch['gather_index'],
    'scores': scoring.result['rank_scores'],
    'selected_in_order': selected,
    'selected_sorted': selected.sort()[0],
    'rank_loss': loss,
    'rank_loss_mean': loss.mean(),
    'rank_corrects': outputs['rank_corrects'],
    'boundary_gap': boundary_gap(picks[0].arguments[0], len(selected)),
    'hinge_min_abs': hinge_min_abs(sigmoids, model.margin),
    'trimmed_attn_masks': training.keywords['attn_masks'],
    'trimmed_img_feat_shape': list(training.keywords['img_feat'].shape),
    'sigmoid_scores_second_pass': sigmoids,
  }
  return {prefix + name: array(value) for name, value in found.items()}
