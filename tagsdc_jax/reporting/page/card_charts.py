"""The charts of the page of a file of negatives."""

from scipy import stats

from tagsdc_jax.evaluation import blind
from tagsdc_jax.reporting.page import charts, panels, prepared_charts
from tagsdc_jax.reporting.page.card_content import Calibration, Numbers, Row
from tagsdc_jax.reporting.page.tables import number

# Series of the blind baseline: their fields, and those with the pairs.
BLIND = {
  'words': ('blind_words', 'pairs'),
  'head': ('blind_head', 'head_pairs'),
}
BLIND_NAMES = {
  'words': 'Bag of words',
  'head': 'Language head without the picture',
}


def of_scores(numbers: Numbers) -> list[panels.Chart]:
  """Returns the distributions of scores; those that are known."""
  found = []
  if numbers.scores:
    heading = 'Matching score'
    found.append(
      panels.Chart(
        heading,
        charts.distributions(
          numbers.scores.edges,
          {
            'caption': numbers.scores.series['captions'],
            'negative': numbers.scores.series['negatives'],
          },
          f'{heading}, median: '
          + ', '.join(
            f'{name} {number(numbers.quantiles[name][2])}'
            for name in ('captions', 'negatives')
            if name in numbers.quantiles
          ),
        ),
        'percent of each',
      )
    )
  if numbers.difference:
    heading = 'Negative’s score less its caption’s'
    found.append(
      panels.Chart(
        heading,
        charts.distributions(
          numbers.difference.edges,
          {'negative': numbers.difference.series['negatives']},
          f'{heading}: above 0 in {number(numbers.all.above)} percent',
          line=0.0,
        ),
        'percent of negatives',
      )
    )
  return found


def of_kept(numbers: Numbers) -> list[panels.Chart]:
  """Returns the negatives per caption; empty if they are all equal."""
  if len(numbers.kept) < 2 or not sum(numbers.kept.values()):
    return []
  heading = 'Negatives per caption'
  return [
    panels.Chart(
      heading,
      charts.histogram(
        *prepared_charts.bins(numbers.kept),
        f'{heading}: {min(numbers.kept)} to {max(numbers.kept)}, mean '
        f'{prepared_charts.mean(numbers.kept)}',
      ),
      'percent of captions',
    )
  ]


def of_blind(numbers: Numbers) -> panels.Chart | None:
  """Returns the blind baseline by kind, with 95 % intervals."""
  rows = (
    [numbers.all, *numbers.kinds] if len(numbers.kinds) > 1 else [numbers.all]
  )
  series = {
    name: values
    for name in BLIND
    if any(values := [interval(row, name) for row in rows])
  }
  if not series:
    return None
  heading = 'Pairs in which the caption is preferred without the picture'
  return panels.Chart(
    heading,
    charts.interval_rows(
      [row.name for row in rows],
      series,
      blind.CHANCE,
      f'{heading}, percent, chance {number(blind.CHANCE)}. '
      + '; '.join(
        f'{BLIND_NAMES[name]}: '
        + ', '.join(
          f'{row.name} {number(value and value[0])}'
          for row, value in zip(rows, values)
        )
        for name, values in series.items()
      ),
    ),
    'percent, 95 % intervals',
  )


def of_calibration(calibration: Calibration | None) -> panels.Chart | None:
  """Returns the reliability curve; None without a calibration."""
  if calibration is None:
    return None
  points = [point[:2] for point in calibration.points]
  return panels.Chart(
    'Share that is true, over the predicted probability',
    charts.reliability(
      points,
      calibration.max_true,
      'Predicted and observed percent: '
      + ', '.join(f'{100 * x:.0f} and {100 * y:.0f}' for x, y in points),
    ),
  )


def interval(row: Row, name: str) -> tuple[float, float, float] | None:
  """Returns a blind baseline in percent, with Wilson's 95 % interval.

  As if pairs did not depend on each other. None if it is unknown.

  Args:
    row: a kind, or all.
    name: in `BLIND`.
  """
  percent, pairs = (getattr(row, field) for field in BLIND[name])
  if percent is None or not pairs or not 0 <= percent <= 100:
    return None
  found = stats.binomtest(round(pairs * percent / 100), pairs).proportion_ci(
    method='wilson'
  )
  return percent, 100 * found.low, 100 * found.high
