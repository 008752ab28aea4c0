"""What a phase starts from."""

from typing import Any

import numpy as np

from tagsdc_jax.settings import PHASES


def start_heads(params: Any, came_from: str, phase: str) -> Any:
  """Returns parameters with the heads that are new since `came_from`.

  Stage 1's matching head starts as the "match" row of pretraining's, stage
  2's word heads as the matching and language heads. Heads that the earlier
  phase has trained are kept.

  Args:
    params: the earlier phase's parameters; not changed.
    came_from: phase that trained them.
    phase: phase that is about to start.
  """
  params = dict(params)
  new = PHASES[PHASES.index(came_from) + 1 : PHASES.index(phase) + 1]
  if 'tags' in new:
    params = reset_rank_head(params)
  if 'dc' in new:
    params['disc_output'] = _copy(params['itm_output'])
    params['correction_output'] = _copy(params['mlm_output'])
  return params


def reset_rank_head(params: Any) -> Any:
  """Returns parameters whose matching head is pretraining's "match" row.

  What stage 1 starts from. The release's ranking script goes back to it, so
  that it does not see what was learnt there (docs/quirks.md, 23).

  Args:
    params: on the host; not changed.
  """
  rank = {
    name: np.array(leaf[..., 1:]) for name, leaf in params['itm_output'].items()
  }
  return params | {'rank_output': rank}


def matching_parameters(params: Any, phase: str) -> Any:
  """Returns parameters whose `rank_output` ranks as the phase's model does.

  Pretraining trains the two-class head only; what ranks pairs then is the
  difference of its logits. Any leading device axis is kept.

  Args:
    params: parameters, on host or devices.
    phase: phase that trained them.
  """
  if phase != 'pretrain':
    return params
  rank = {
    name: leaf[..., 1:] - leaf[..., :1]
    for name, leaf in params['itm_output'].items()
  }
  return params | {'rank_output': rank}


def _copy(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {name: _copy(leaf) for name, leaf in tree.items()}
  return np.array(tree)
