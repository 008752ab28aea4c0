"""The sources of negatives, pair losses and weights of stages 1 and 2."""

from typing import NamedTuple

from tagsdc_jax import settings
from tagsdc_jax.losses import pair_losses
from tagsdc_jax.negatives import built_in, mining, source


class Parts(NamedTuple):
  """Sources, pair losses and weights of a phase; static."""

  sources: tuple[source.Source, ...]
  losses: tuple[pair_losses.PairLoss, ...]
  num_hard: tuple[int, ...]  # h of each source.
  weights: dict[str, float]  # Of every term of the loss.

  @property
  def trained_heads(self) -> set[str]:
    """Names of the heads that at least one loss trains."""
    return {head for loss in self.losses for head in loss.heads} | {
      head for one in self.sources for head in one.trains
    }


def of_settings(config: settings.Settings) -> Parts:
  """Returns the parts that the settings name; UserError for unknown names."""
  sources = built_in.of_settings(config)
  losses = pair_losses.of_settings(config)
  of_source = config.losses.weight_by_source or [
    config.losses.synthetic if one.writes else 1.0 for one in sources
  ]
  weights = {'mlm': config.losses.mlm}
  for loss in losses:
    weights[loss.name] = loss.weight
    for one, weight in zip(sources, of_source, strict=True):
      weights[f'{loss.name}_{one.name}'] = loss.weight * (
        1.0 if loss.reads_words else weight
      )
  return Parts(sources, losses, mining.num_hard_of(config.negatives), weights)
