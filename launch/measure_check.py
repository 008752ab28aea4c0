"""Measures on the world how well `check` finds and corrects a wrong word.

Makes foils of the test captions, equally many of each kind and spread over the
captions, and checks them against their pictures. Prints a table in Markdown:
how often the word most probably wrong is one that was changed, how often the
suggestion there is the caption's word, and how often the correction is the
caption itself; in percent, with 95 % Wilson intervals. The last row is of true
captions: how often the correction leaves them as they are. Run it with the
environment's Python:

  .venv/bin/python launch/measure_check.py runs/demo/dc

A swap changes several words: any of them counts as found, all must be restored.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from scipy import stats

import tagsdc_jax as tagsdc
from tagsdc_jax import arguments, errors
from tagsdc_jax.data.world import foils, grammar
from tagsdc_jax.reporting import tables
from tagsdc_jax.settings import kinds

COLUMNS = ('changed words', 'found', 'suggested', 'restored')


def main() -> None:
  """Checks the foils and prints the table."""
  parser = arguments.Parser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument(
    'run', type=arguments.location, help='run of phase dc on the world'
  )
  parser.add_argument(
    '--foils', default=500, type=arguments.of_kind(kinds.Whole(5, 10**6))
  )
  args = parser.parse_args()
  matcher = tagsdc.load(args.run)
  if matcher.settings.data.source != 'world':
    raise errors.UserError(f'{args.run} was not trained on the world')
  if matcher.phase != 'dc':
    print(
      f'{args.run} was trained in phase {matcher.phase}, which has no word '
      'heads; words and corrections need a run of phase dc'
    )
    return
  chosen = spread(_foils(matcher), args.foils)
  captions = matcher.data.captions
  checked = matcher.check(
    [' '.join(grammar.to_words(foil.token_ids)) for foil in chosen],
    [captions[foil.caption].image for foil in chosen],
  )
  found = {
    kind: np.array(
      [
        measured(captions[foil.caption].text, one)
        for foil, one in zip(chosen, checked, strict=True)
        if kind in ('all', foil.kind)
      ]
    )
    for kind in ('all', *foils.KINDS)
  }
  print(f'| foils | number | {" | ".join(COLUMNS)} |\n|---|---|{"---|" * 4}')
  for kind, rows in found.items():
    cells = [f'{100 * rows[:, 0].mean():.0f}', *map(share, rows[:, 1:].T)]
    print(f'| {tables.KINDS[kind]} | {len(rows)} | {" | ".join(cells)} |')
  numbers = sorted({foil.caption for foil in chosen})
  kept = [
    one.corrected_score is None
    for one in matcher.check(numbers, [captions[n].image for n in numbers])
  ]
  print(f'| true captions | {len(kept)} | 0 | | | {share(np.array(kept))} |')


def _foils(matcher: tagsdc.Matcher) -> list[foils.Foil]:
  scenes = opening.load_scenes(matcher.settings.data, 'test')
  return foils.make_foils(matcher.data, scenes)


def spread(made: Sequence[foils.Foil], number: int) -> list[foils.Foil]:
  """Returns foils, equally many of each kind, from captions far apart.

  Args:
    made: from `foils.make_foils`.
    number: how many at most.
  """
  chosen = []
  for kind in foils.KINDS:
    own = [foil for foil in made if foil.kind == kind]
    count = min(number // len(foils.KINDS), len(own))
    chosen += [own[i * len(own) // count] for i in range(count)]
  return chosen


def measured(caption: str, checked: tagsdc.Checked) -> tuple[float, ...]:
  """Returns what COLUMNS say of a foil.

  Args:
    caption: that the foil was made from, as many words.
    checked: the foil, checked against the caption's picture.
  Returns:
    the share of its words that were changed, which is how often one is found by
    guessing; whether the word most probably wrong is one of them; whether its
    suggestion is the caption's word; and whether the correction is the caption.
  """
  words = caption.split()
  changed = [
    place
    for place, word in enumerate(checked.words)
    if word.text != words[place]
  ]
  first = max(
    range(len(words)), key=lambda place: checked.words[place].replaced
  )
  return (
    len(changed) / len(words),
    first in changed,
    first in changed and checked.words[first].suggestion == words[first],
    checked.corrected == caption,
  )


def share(values: np.ndarray) -> str:
  """Returns a share in percent with its 95 % Wilson interval."""
  test = stats.binomtest(int(values.sum()), len(values))
  low, high = test.proportion_ci(method='wilson')
  return f'{100 * test.statistic:.1f} ({100 * low:.1f} to {100 * high:.1f})'


if __name__ == '__main__':
  main()
