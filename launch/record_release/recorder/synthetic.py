"""synthetic_stage1.npz: negatives that the model writes, and their choice."""

from typing import Any, Callable, Dict, NamedTuple

import numpy as np
import torch

from recorder.arrays import array, boundary_gap, hinge_min_abs
from recorder.batches import Batch
from recorder.problems import Problem
from recorder.watching import logged, replaced

_CASE = 'main/'
_MASKED = (
  'mlm_input_ids',
  'mlm_txt_labels',
  'mlm_position_ids',
  'mlm_attn_masks',
  'mlm_gather_index',
)

# What one run of the release's path "gi" returned, and what it kept to itself:
# logits and gather index of the scoring pass, sigmoids of the training pass,
# penalised scores without row 0, selected rows.
Run = NamedTuple(
  'Run',
  [
    ('outputs', Dict[str, torch.Tensor]),
    ('raw_scores', torch.Tensor),
    ('sigmoid_scores', torch.Tensor),
    ('positive_gather', torch.Tensor),
    ('training_sigmoids', torch.Tensor),
    ('ranked', torch.Tensor),
    ('selected', torch.Tensor),
  ],
)


def refill(model: torch.nn.Module, batch: Batch) -> Dict[str, torch.Tensor]:
  """Returns what the language head gives: losses and sampled captions.

  Draws from torch's generator. The other runs use what is returned here, so
  that all of them speak about the same captions.
  """
  model.train()
  with torch.no_grad():
    return model.forward_mlm(
      compute_loss=True,
      sampling=True,
      img_feat=batch['mlm_img_feat'],
      img_pos_feat=batch['mlm_img_pos_feat'],
      **{name.replace('mlm_', ''): batch[name] for name in _MASKED},
    )


def run(
  model: torch.nn.Module,
  batch: Batch,
  refills: Dict[str, torch.Tensor],
  fix_positive: bool,
) -> Run:
  """Runs the release's path with given refills.

  Args:
    model: network, dropout 0.
    batch: from `batches.from_text`.
    refills: from `refill`.
    fix_positive: gather the positive's tokens by its own index, not by the
      attention mask (which reads one token everywhere).
  """

  def correct(original: Callable) -> Callable:
    def forward_uniter(**keywords: Any) -> Any:
      index = keywords['gather_index'].clone()
      index[0] = batch['mlm_gather_index'][0]
      return original(**dict(keywords, gather_index=index))

    return forward_uniter if fix_positive else original

  model.train()
  # The innermost function is logged, so that the log shows what it got.
  with (
    torch.no_grad(),
    replaced(model, 'forward_mlm', lambda original: lambda **keywords: refills),
    logged(model, 'forward_uniter') as passes,
    replaced(model, 'forward_uniter', correct),
    logged(torch.Tensor, 'topk') as picks,
  ):
    # The release changes the dictionary that it gets.
    outputs = model(
      dict(batch), sample_from='gi', compute_loss=True, compute_mlm=True
    )
  scoring, training = passes
  return Run(
    outputs,
    scoring.result['rank_scores'],
    scoring.result['rank_scores_sigmoid'],
    scoring.keywords['gather_index'][0],
    torch.sigmoid(training.result['rank_scores']).reshape(-1),
    picks[0].arguments[0],
    picks[0].result[1] + 1,
  )


def record(
  model: torch.nn.Module,
  batch: Batch,
  refills: Dict[str, torch.Tensor],
  released: Run,
  fixed: Run,
  scores: torch.Tensor,
) -> Dict[str, np.ndarray]:
  """Returns the arrays that both stages have.

  Args:
    model: network, dropout 0.
    batch: from `batches.from_text`.
    refills: from `refill`.
    released: the run as released.
    fixed: the run with the positive gathered rightly.
    scores: float [1 + M * K, 1], what this stage ranks by: logits in stage 1,
      sigmoids in stage 2.
  Raises:
    Problem: if the release chose in another way than we know it.
  """
  out = {
    name: array(batch[name]) for name in ('input_ids', 'input_dict') + _MASKED
  }
  out['img_feat'] = array(batch['mlm_img_feat'][0])
  out['img_pos_feat'] = array(batch['mlm_img_pos_feat'][0])
  out.update(
    {
      name: array(refills[name])
      for name in ('fill_input_ids', 'masked_lm_loss', 'mlm_corrects')
    }
  )
  out['masked_lm_loss_mean'] = array(refills['masked_lm_loss'].mean())
  rows = torch.cat([batch['input_ids'], refills['fill_input_ids']])
  out.update(_choice(rows, released, scores))
  for name, variant in (('as_released/', released), ('fixed/', fixed)):
    out.update(
      {name + key: value for key, value in _variant(model, variant).items()}
    )
  return {_CASE + name: value for name, value in out.items()}


def _choice(
  rows: torch.Tensor, released: Run, scores: torch.Tensor
) -> Dict[str, np.ndarray]:
  """Returns penalties, penalised scores and the selected rows."""
  same = (rows[:, None] == rows[None]).all(-1).float()
  caption = same[0] * 3
  later = (torch.triu(same, diagonal=1).sum(-1) > 0).float() * 2
  penalised = scores.squeeze(-1) - (caption + later)
  effective = ((caption + later) == 0).sum()
  # What the release does not return we compute; it must be what it ranked by.
  if not torch.equal(penalised[1:], released.ranked) or (
    int(effective) != int(released.outputs['effect_nsgd_number'])
  ):
    raise Problem(
      '--release: it ranks its captions in another way than commit '
      '3c059a1 of LibertFan/TAGS does, so its choice cannot be '
      'recorded'
    )
  selected = released.selected
  found = {
    'c1_penalty': caption,
    'c2_penalty': later,
    'penalized_scores': penalised,
    'selected_indices': selected,
    'selected_indices_sorted': selected.sort()[0],
    'selected_input_ids': rows[selected],
    'effect_num': effective,
    'boundary_gap': boundary_gap(penalised[1:], len(selected)),
  }
  return {name: array(value) for name, value in found.items()}


def _variant(model: torch.nn.Module, run_: Run) -> Dict[str, np.ndarray]:
  """Returns scores and losses of one run."""
  loss = run_.outputs['rank_loss']
  found = {
    'positive_gather_index': run_.positive_gather,
    'raw_scores': run_.raw_scores,
    'sigmoid_scores': run_.sigmoid_scores,
    'rank_loss': loss,
    'rank_loss_mean': loss.mean(),
    'rank_corrects': run_.outputs['rank_corrects'],
    'hinge_min_abs': hinge_min_abs(run_.training_sigmoids, model.margin),
  }
  return {name: array(value) for name, value in found.items()}
