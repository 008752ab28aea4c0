"""The page of a file of negatives: whether it is fit to train and test with.

Deterministic: the same content gives the same bytes.
"""

from tagsdc_jax.negative_files import card as cards
from tagsdc_jax.reporting.page import card_charts, card_text, rendering
from tagsdc_jax.reporting.page.card_content import Page

_QUANTILES = {
  'captions': 'Captions',
  'negatives': 'Negatives',
  'difference': 'Negative less its caption',
}


def render(page: Page) -> str:
  """Returns the page as HTML without scripts or links to other files."""
  numbers = page.numbers
  scores = numbers.scores
  text = (
    rendering.environment()
    .get_template('card.html')
    .render(
      page=page,
      title=f'Negatives of {page.name} – TAGS-DC',
      lead=card_text.lead(numbers),
      findings=card_text.findings(page),
      facts=card_text.facts(numbers),
      numbers=numbers,
      rows=[numbers.all, *numbers.kinds],
      columns=card_text.columns(numbers),
      cell=card_text.cell,
      dropped=card_text.dropped(numbers),
      candidates=numbers.negatives + sum(numbers.dropped.values()),
      kept_charts=card_charts.of_kept(numbers),
      score_charts=card_charts.of_scores(numbers),
      percents=cards.QUANTILES,
      quantiles=[
        (name, [f'{value:.2f}' for value in numbers.quantiles[key]])
        for key, name in _QUANTILES.items()
        if key in numbers.quantiles
      ],
      blind_chart=card_charts.of_blind(numbers),
      blind_text=card_text.blind_text(numbers),
      blind_names={
        name: card_charts.BLIND_NAMES[name]
        for name, (field, _) in card_charts.BLIND.items()
        if card_text.is_known(numbers, field)
      },
      calibration_chart=card_charts.of_calibration(page.calibration),
      duplicates=card_text.duplicates(numbers),
      lengths=card_text.lengths(numbers),
      low=scores.edges[0] if scores else 0.0,
      high=scores.edges[-1] if scores else 0.0,
      bar=_bar,
      kinds=sorted(
        {
          piece.kind
          for item in page.examples
          for piece in (*item.caption, *item.negative)
          if piece.kind
        }
      ),
      has_boxes=any(item.picture.boxes for item in page.examples),
      has_words=any(
        piece.replaced is not None
        for item in page.examples
        for piece in (*item.negative, *item.words)
      ),
    )
  )
  return text.rstrip() + '\n'


def _bar(value: float, low: float, high: float) -> float:
  """Returns the length of a score's bar, from 0 to 1."""
  return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0
