"""Initial parameters of a phase's heads."""

from typing import Any

import numpy as np

from tagsdc_jax.settings import PHASES


def start_heads(params: Any, came_from: str, phase: str) -> Any:
  """Returns the parameters with heads initialized that `came_from` lacked.

  Stage 1's matching head starts as the "match" row of pretraining's two-class
  head; stage 2's word heads start as the two-class head and the MLM head. Heads
  that the earlier phase has trained are kept.

  Args:
    params: the earlier phase's parameters; not changed.
    came_from: the phase that trained them.
    phase: the phase that is about to start.
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
  """Returns the parameters with the matching head of the start of stage 1.

  It is the "match" row of pretraining's two-class head. The release's ranking
  script resets the head to it, discarding its training (docs/quirks.md, 23).

  Args:
    params: on the host; not changed.
  """
  rank = {
    name: np.array(leaf[..., 1:]) for name, leaf in params['itm_output'].items()
  }
  return params | {'rank_output': rank}


def matching_parameters(params: Any, phase: str) -> Any:
  """Returns the parameters with a `rank_output` that suits the phase.

  Pretraining trains the two-class head only; the difference of its two logits
  then ranks pairs. A leading device axis is preserved.

  Args:
    params: parameters, on the host or on devices.
    phase: the phase that trained them.
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
