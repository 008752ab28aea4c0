"""Initial heads of the release's phases."""

from typing import Any

from tagsdc_jax.training import head_init


def start_heads(params: Any, came_from: str, phase: str) -> Any:
  """Like `head_init.start_heads`, but stage 2 starts from pretraining's head.

  The matching head that stage 1 trained is lost (docs/quirks.md, 22).
  """
  params = head_init.start_heads(params, came_from, phase)
  return head_init.reset_rank_head(params) if phase == 'dc' else params
