"""Renders a report as one HTML file.

Deterministic: the same report gives the same bytes. The templates escape
everything except the drawings of `charts`.
"""

import base64

import jinja2

from tagsdc_jax.reporting.page import comparison, content, panels, svg, tables

LABELS = tables.LABELS


def render(report: content.Report) -> str:
  """Returns the page as HTML without scripts or links to other files."""
  page = (
    environment()
    .get_template('page.html')
    .render(
      report=report,
      labels=LABELS,
      names=comparison.NAMES,
      title=tables.title(report),
      lead=tables.lead(report),
      facts=tables.facts(report),
      comparison=comparison.compare(report.ablation),
      recalls=tables.recall_rows(report),
      measures=tables.measure_rows(report),
      recall_charts=panels.charts_of_recalls(report),
      foil_charts=panels.charts_of_foils(report),
      negative_charts=panels.charts_of_negatives(report),
      curves=[
        (phase, panels.curve_panels(phase))
        for phase in report.phases
        if phase.train or phase.validations
      ],
      settings=tables.setting_rows(report),
      versions=tables.versions(report),
    )
  )
  return page.rstrip() + '\n'


def environment() -> jinja2.Environment:
  """Returns the templates, with the filters that they use."""
  made = jinja2.Environment(
    loader=jinja2.PackageLoader('tagsdc_jax.reporting.page'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  made.filters |= {
    'number': tables.number,
    'percent': percent,
    'data_url': data_url,
    'share': share,
    'file_size': file_size,
    'dashes': dashes,
  }
  return made


def percent(probability: float) -> str:
  """Returns a probability in percent with one decimal."""
  return tables.number(100 * probability)


def share(value: float) -> str:
  """Returns a share as a CSS length in percent."""
  return f'{100 * value:.2f}%'


def dashes(series: str, width: float = 2.4) -> str:
  """Returns strokes and gaps of a series of a chart; empty if it is solid."""
  return ' '.join(f'{width * part:.2f}' for part in svg.DASHES.get(series, ()))


def file_size(size: int) -> str:
  """Returns a number of bytes for people; empty for 0."""
  if not size:
    return ''
  value, unit = float(size), 'B'
  for larger in ('kB', 'MB', 'GB', 'TB'):
    if value < 1000:
      break
    value, unit = value / 1000, larger
  return f'{value:.1f} {unit}' if unit != 'B' else f'{size} B'


def data_url(image: bytes) -> str:
  """Returns a PNG or JPEG file as a data URL."""
  kind = 'jpeg' if image.startswith(b'\xff\xd8') else 'png'
  return f'data:image/{kind};base64,' + base64.b64encode(image).decode('ascii')
