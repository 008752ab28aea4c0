"""What the release's phases start from."""

from typing import Any

from tagsdc_jax.training import head_init


def start_heads(params: Any, came_from: str, phase: str) -> Any:
  """As `initialising.start_heads`, but stage 2 begins with pretraining's head.

  What stage 1 has learnt there is lost (docs/quirks.md, 22).
  """
  params = head_init.start_heads(params, came_from, phase)
  return head_init.reset_rank_head(params) if phase == 'dc' else params
