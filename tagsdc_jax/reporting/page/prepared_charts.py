"""The charts of a prepared data set: what is counted, in bars."""

from collections.abc import Mapping

import numpy as np

from tagsdc_jax.reporting.page import charts, panels
from tagsdc_jax.reporting.page.prepared_content import Split
from tagsdc_jax.reporting.page.tables import MISSING

KINDS = {
  'object': 'object',
  'attribute': 'attribute',
  'relation': 'relation',
  'phrase': 'of unknown kind',
}
# Bars of a histogram, and groups of phrases, at most.
_BARS, _GROUPS = 40, 7


def mean(counts: Mapping[int, int]) -> str:
  """Returns the mean of counted numbers with one decimal, or a dash."""
  number = sum(counts.values())
  if not number:
    return MISSING
  return f'{sum(key * value for key, value in counts.items()) / number:.1f}'


def charts_of(total: Split) -> list[panels.Chart]:
  """Returns charts of lengths, regions and phrases; none of equal numbers."""
  found = []
  for counts, heading, of in (
    (total.tokens, 'Tokens per caption', 'captions'),
    (total.regions, 'Regions per picture', 'pictures'),
  ):
    if len(counts) > 1:
      edges, shares = bins(counts)
      remark = f'percent of {of}'
      if edges[-1] < max(counts):
        remark += f'; the last bar goes on to {max(counts):,}'
      found.append(
        panels.Chart(
          heading,
          charts.histogram(
            edges,
            shares,
            f'{heading}: {min(counts)} to {max(counts)}, mean {mean(counts)}',
          ),
          remark,
        )
      )
  if found_phrases := _phrase_chart(total):
    found.append(found_phrases)
  return found


def bins(counts: Mapping[int, int]) -> tuple[list[float], list[float]]:
  """Returns the edges of bars, and the percentage in each.

  The last bar also has what lies far beyond the others.
  """
  keys = np.array(sorted(counts))
  weights = np.array([counts[key] for key in keys], np.float64)
  total = weights.sum()
  usual = int(keys[np.searchsorted(weights.cumsum(), 0.995 * total)])
  low, high = int(keys[0]), int(keys[-1])
  if high - low > 2 * max(1, usual - low):
    high = usual
  width = -(-(high - low + 1) // _BARS)
  number = -(-(high - low + 1) // width)
  place = np.minimum((keys - low) // width, number - 1)
  shares = np.bincount(place, weights, number) * (100 / total)
  # Whole numbers are in the middle of their bars.
  edges = low - 0.5 + width * np.arange(number + 1)
  return edges.tolist(), shares.tolist()


def _phrase_chart(total: Split) -> panels.Chart | None:
  most = max((max(c, default=0) for c in total.phrases.values()), default=0)
  if not most:
    return None
  groups = min(most + 1, _GROUPS)
  names = [str(number) for number in range(groups)]
  if most >= groups:
    names[-1] += '+'
  series = {}
  for kind, counts in total.phrases.items():
    shares = [0.0] * groups
    for number, count in counts.items():
      shares[min(number, groups - 1)] += 100 * count / total.captions
    series[kind] = shares
  return panels.Chart(
    'Phrases per caption',
    charts.grouped_bars(
      names,
      series,
      [None] * groups,
      'Phrases per caption: '
      + ', '.join(
        f'{KINDS[kind]} {mean(c)}' for kind, c in total.phrases.items()
      )
      + ' on average',
    ),
    'percent of captions',
  )
