"""Selects a report's charts, with their headings and descriptions."""

import dataclasses
from collections.abc import Mapping, Sequence

from tagsdc_jax.evaluation import recall
from tagsdc_jax.reporting.page import charts, content, curves, svg, tables

# Losses by their name in metrics.jsonl, in the order shown, with a descriptive
# heading and the setting of the weight in the total.
_LOSSES = {
  'loss': ('Total loss', None),
  'loss/matching': ('Matching', None),
  'loss/alignment': ('Alignment', 'losses.alignment'),
  'loss/triplet_images': ('Text to image', None),
  'loss/triplet_texts': ('Image to text', None),
  'loss/triplet_mask_refill': ('Synthetic negatives', 'losses.synthetic'),
  'loss/mlm': ('Masked words', 'losses.mlm'),
  'loss/discrimination_mask_refill': (
    'Word discrimination',
    'losses.discrimination',
  ),
  'loss/correction_mask_refill': ('Word correction', 'losses.correction'),
}
VERDICT_NAMES = {
  'false': 'false',
  'still_true': 'still true',
  'not_a_sentence': 'not a sentence',
}


@dataclasses.dataclass(frozen=True)
class Chart:
  """A drawing with its heading; `remark` may be empty."""

  heading: str
  drawing: str
  remark: str = ''


def charts_of_recalls(report: content.Report) -> list[Chart]:
  """Returns bars of R@1, 5 and 10 in both directions; empty without results."""
  phases = [phase for phase in report.phases if phase.test]
  found = []
  for way, heading in zip(
    tables.WAYS, ('Image retrieval, R@k', 'Text retrieval, R@k')
  ):
    series = {
      phase.name: [
        tables.value_of(phase.test, way, f'r{k}') for k in recall.CUTOFFS
      ]
      for phase in phases
    }
    base = tables.chance(phases[-1].test) if phases else None
    chances = [base[way][f'r{k}'] if base else None for k in recall.CUTOFFS]
    names = [f'R@{k}' for k in recall.CUTOFFS]
    found += _bars(heading, names, series, chances)
  return found


def charts_of_foils(report: content.Report) -> list[Chart]:
  """Returns bars of foil accuracy by kind; empty without any."""
  series = {
    phase.name: [
      tables.value_of(phase.measures, *tables.FOILS, kind, 'accuracy')
      for kind in tables.KINDS
    ]
    for phase in report.phases
  }
  return _bars(
    'Foil accuracy by kind of change, test split',
    list(tables.KINDS.values()),
    series,
    [tables.FOIL_CHANCE] * len(tables.KINDS),
  )


def charts_of_negatives(report: content.Report) -> list[Chart]:
  """Returns bars of the oracle's verdicts; empty without any."""
  found = []
  for source, heading in zip(
    tables.SOURCES, ('Generated sentences', 'Retrieved captions')
  ):
    rows: dict[str, list[tuple[str, float]]] = {}
    for phase in report.phases:
      shares = [
        (verdict, tables.value_of(phase.measures, source, verdict))
        for verdict in tables.VERDICTS
      ]
      known = [
        (verdict, share) for verdict, share in shares if share is not None
      ]
      if known:
        rows[tables.LABELS[phase.name]] = known
    if rows:
      found.append(
        Chart(
          heading,
          charts.stacked_bars(
            rows,
            _say(
              heading,
              {
                label: {VERDICT_NAMES[v]: share for v, share in shares}
                for label, shares in rows.items()
              },
            ),
          ),
        )
      )
  return found


def curve_panels(phase: content.Phase) -> list[Chart]:
  """Returns small charts of a phase: its losses, and validation's R@1."""
  planned = int(phase.settings.get('num_updates') or 0)
  found = []
  for name, (heading, weight) in _losses_of(phase).items():
    curve = curves.read(phase.train, name)
    if curve is None:
      continue
    factor = phase.settings.get(weight) if weight else None
    found.append(
      Chart(
        heading,
        charts.loss_panel(
          curve,
          planned,
          svg.COLORS[phase.name],
          f'{heading}: from {curve.smoothed()[0]:.3f} to {curve.last:.3f}',
        ),
        f'{curve.last:.3f}'
        + (f', weight {factor:g}' if factor is not None else ''),
      )
    )
  curve = curves.read(phase.validations, 'mean_r1')
  if curve is not None:
    base = tables.chance(phase.validation)
    found.append(
      Chart(
        'Mean R@1',
        charts.score_panel(
          curve,
          planned,
          svg.INK,
          f'Mean R@1 on validation: {curve.values[-1]:.1f} at the end',
          base['mean_r1'] if base else None,
        ),
        f'{curve.values[-1]:.1f} on validation',
      )
    )
  return found


def _losses_of(phase: content.Phase) -> dict[str, tuple[str, str | None]]:
  """Returns the heading and weight of every loss that a phase logged."""
  names = {
    name: None
    for line in phase.train
    for name in line
    if name.startswith('loss/')
  }
  return _LOSSES | {
    name: (name.removeprefix('loss/').replace('_', ' '), None)
    for name in names
    if name not in _LOSSES
  }


def _bars(
  heading: str,
  groups: Sequence[str],
  series: Mapping[str, Sequence[float | None]],
  chances: Sequence[float | None],
) -> list[Chart]:
  known = {
    phase: values
    for phase, values in series.items()
    if any(value is not None for value in values)
  }
  if not known:
    return []
  spoken = _say(
    heading,
    {
      tables.LABELS[phase]: dict(zip(groups, values))
      for phase, values in known.items()
    },
  )
  return [Chart(heading, charts.grouped_bars(groups, known, chances, spoken))]


def _say(heading: str, rows: Mapping[str, Mapping[str, float | None]]) -> str:
  """Returns a chart's numbers as a sentence for screen readers."""
  parts = [
    f'{label}: '
    + ', '.join(
      f'{name} {tables.number(value)}' for name, value in values.items()
    )
    for label, values in rows.items()
  ]
  return f'{heading}, percent. ' + '; '.join(parts)
