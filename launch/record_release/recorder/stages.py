"""synthetic_stage1.npz and synthetic_stage2.npz: generated negatives."""

import os
import traceback
from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch

from recorder import synthetic
from recorder.arrays import array
from recorder.batches import Batch
from recorder.progress import Progress, counting

_WORD_RESULTS = (
  'disc_p',
  'disc_loss',
  'disc_pos_corrects',
  'disc_pos_samples',
  'disc_neg_corrects',
  'disc_neg_samples',
  'disc_corrects',
  'disc_samples',
  'correction_loss',
  'correction_corrects',
  'correction_texts',
  'all_correction_corrects',
)


def stage1(model: torch.nn.Module, batch: Batch) -> Dict[str, np.ndarray]:
  """Returns the arrays of synthetic_stage1.npz.

  Args:
    model: network of stage 1, dropout 0.
    batch: from `batches.from_text`.
  """
  copies, scored, kept = _counts(model, batch)
  progress = Progress('written negatives', copies + 2 * (scored + kept))
  with counting(progress, model.uniter.encoder.layer):
    refills = synthetic.refill(model, batch)
    released, fixed = (
      synthetic.run(model, batch, refills, fix_positive=fix)
      for fix in (False, True)
    )
  out = synthetic.record(
    model, batch, refills, released, fixed, released.raw_scores
  )
  out['main/rank_output_scale'] = np.ones((), np.float32)
  return out


def stage2(
  model: torch.nn.Module, batch: Batch, release_folder: str
) -> Tuple[Dict[str, np.ndarray], Optional[Dict[str, Any]]]:
  """Returns the arrays of synthetic_stage2.npz, and the release's error.

  The release compares the candidates with the tokens of all captions, which
  raises an error. Both runs recorded here make it compare with the caption
  instead.

  Args:
    model: network of stage 2, dropout 0.
    batch: from `batches.from_text`.
    release_folder: its checkout, for the places in its code.
  """
  copies, scored, kept = _counts(model, batch)
  progress = Progress(
    'written negatives', copies + scored + 2 * (scored + kept) + kept - 1
  )
  repaired = dict(batch, input_dict=batch['input_ids'])
  with counting(progress, model.uniter.encoder.layer):
    refills = synthetic.refill(model, batch)
    error = _released_error(model, batch, refills, release_folder)
    released, fixed = (
      synthetic.run(model, repaired, refills, fix_positive=fix)
      for fix in (False, True)
    )
    words = _words(model, released.outputs)
  out = synthetic.record(
    model, batch, refills, released, fixed, released.sigmoid_scores
  )
  for name, run in (('as_released', released), ('fixed', fixed)):
    out['main/{}/rank_adv_scores'.format(name)] = array(
      run.outputs['rank_adv_scores']
    )
  out.update({'main/' + name: value for name, value in words.items()})
  return out, error


def _counts(model: torch.nn.Module, batch: Batch) -> Tuple[int, int, int]:
  """Returns the numbers of rows for masked copies, scoring, and training."""
  copies = len(batch['mlm_input_ids'])
  return copies, 1 + copies * model.nsgd_sample_size, 1 + model.hard_size


def _released_error(
  model: torch.nn.Module,
  batch: Batch,
  refills: Dict[str, torch.Tensor],
  folder: str,
) -> Optional[Dict[str, Any]]:
  """Returns the unmodified release's error; None if it raises none."""
  try:
    synthetic.run(model, batch, refills, fix_positive=False)
  except RuntimeError as error:
    frames = traceback.extract_tb(error.__traceback__)
    inside = [
      frame
      for frame in frames
      if frame.filename.startswith(os.path.join(folder, 'model') + os.sep)
    ]
    rows = 1 + len(refills['fill_input_ids'])
    return {
      'type': type(error).__name__,
      'text': str(error),
      'where': [
        '{}:{}'.format(os.path.relpath(frame.filename, folder), frame.lineno)
        for frame in inside
      ],
      'shapes': {
        'input_dict': list(batch['input_dict'].shape),
        'rows': [rows, batch['input_ids'].size(1)],
        'repeated': rows * batch['input_dict'].numel(),
      },
    }
  return None


def _words(
  model: torch.nn.Module, outputs: Dict[str, torch.Tensor]
) -> Dict[str, np.ndarray]:
  """Returns word discrimination and correction on the selected captions."""
  model.train()
  given = {
    name: value
    for name, value in outputs.items()
    if name.startswith(('syn_', 'gt_'))
  }
  labels = (given['syn_input_ids'] == given['gt_input_ids']).long()
  with torch.no_grad():
    results = model(
      given, sample_from='gsynt', compute_all_correction_output=True
    )
  found = {name: array(results[name]) for name in _WORD_RESULTS}
  found['disc_loss_mean'] = array(results['disc_loss'].mean())
  found['correction_loss_mean'] = array(results['correction_loss'].mean())
  found['syn_txt_labels'] = array(given['syn_txt_labels'])
  found['disc_labels'] = array(labels)
  return found
