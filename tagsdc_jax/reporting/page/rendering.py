"""Renders a report as one HTML file.

Deterministic: the same report gives the same bytes. The templates escape
everything except the drawings of `charts`.
"""

import base64

import jinja2

from tagsdc_jax.reporting.page import comparison, content, panels, tables

LABELS = tables.LABELS


def render(report: content.Report) -> str:
  """Returns the page as HTML without scripts or links to other files."""
  page = (
    _environment()
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


def _environment() -> jinja2.Environment:
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('tagsdc_jax.reporting.page'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters |= {
    'number': tables.number,
    'percent': percent,
    'data_url': data_url,
    'share': share,
  }
  return environment


def percent(probability: float) -> str:
  """Returns a probability in percent with one decimal."""
  return tables.number(100 * probability)


def share(value: float) -> str:
  """Returns a share as a CSS length in percent."""
  return f'{100 * value:.2f}%'


def data_url(png: bytes) -> str:
  """Returns a PNG file as a data URL."""
  return 'data:image/png;base64,' + base64.b64encode(png).decode('ascii')
