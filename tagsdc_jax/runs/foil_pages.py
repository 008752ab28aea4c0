"""Writes the page of foil files: results, and items with their pictures."""

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import files, settings
from tagsdc_jax.foil_files import measuring
from tagsdc_jax.reporting import foils as reporting
from tagsdc_jax.reporting.page import content
from tagsdc_jax.reporting.page import foil_content as page
from tagsdc_jax.reporting.page import foils as rendering
from tagsdc_jax.runs import foil_pictures, foils, pictures

# Items that are shown of each benchmark, and foils of each.
_WORST, _DRAWN, _FOILS = 3, 6, 3
_SEED = 0


def write(
  path: Path,
  config: settings.Data,
  results: dict[str, Any],
  benchmarks: Sequence[foils.Benchmark],
  shelf: foil_pictures.Shelf,
  notes: Sequence[str],
) -> None:
  """Writes the page.

  Args:
    path: of the page.
    config: names the data with the pictures.
    results, benchmarks: from `foils.evaluate`.
    shelf: the pictures.
    notes: lines on what was not scored, and what was noticed.
  Raises:
    UserError: if the data is damaged, or the file system refuses.
  """
  checkpoint = Path(results['checkpoint'])
  run = next(
    (
      one.parent.name for one in checkpoint.parents if one.name == 'checkpoints'
    ),
    checkpoint.name,
  )
  text = rendering.render(
    page.Page(
      run,
      results,
      notes,
      {
        one.family: [
          _example(config, shelf, one, place) for place in choose(one.scored)
        ]
        for one in benchmarks
      },
    )
  ).encode('utf-8')
  files.write_bytes(path, text)


def choose(scored: Sequence[measuring.Scored]) -> list[int]:
  """Returns the places of the items to show, at most one per picture.

  Args:
    scored: items; those without a caption or a foil are not shown.
  """
  whole = [
    place
    for place, one in enumerate(scored)
    if one.item.captions and one.item.foils
  ]
  worst = sorted(whole, key=lambda place: scored[place].margin)
  drawn = np.random.default_rng(_SEED).permutation(whole)
  chosen: list[int] = []
  seen: set[str] = set()
  for places, most in ((worst, _WORST), (drawn, _WORST + _DRAWN)):
    for place in places:
      one = scored[place]
      is_wrong = one.margin <= 0 or places is not worst
      if len(chosen) < most and is_wrong and one.picture not in seen:
        seen.add(one.picture)
        chosen.append(int(place))
  return chosen


def _example(
  config: settings.Data,
  shelf: foil_pictures.Shelf,
  benchmark: foils.Benchmark,
  place: int,
) -> page.Example:
  one, ready = benchmark.scored[place], benchmark.ready[place]
  item = one.item
  numbers = [x for x in (ready.image, ready.other) if x is not None]
  others: Sequence[Sequence[float]] = (
    [[x] for x in one.others] if one.others else [[]] * 2
  )
  top = np.argsort(-one.foils, kind='stable')[:_FOILS]
  best = item.foils[top[0]]
  sentences = [
    page.Sentence(marked(text, best), True, [float(score), *others[0]])
    for text, score in zip(item.captions, one.captions, strict=True)
  ] + [
    page.Sentence(
      marked(item.foils[row], item.captions[0]),
      False,
      [float(one.foils[row]), *others[1]],
    )
    for row in top
  ]
  return page.Example(
    reporting.shown_kind(item.kind),
    one.margin > 0,
    [_picture(config, shelf, number) for number in numbers],
    # Of equal scores, the foil first: a tie is wrong.
    sorted(sentences, key=lambda x: (-x.scores[0], x.is_caption)),
    len(item.foils) - len(top),
  )


def marked(text: str, other: str) -> list[page.Piece]:
  """Returns a sentence with the words marked that another has not in place."""
  words, before = text.split(), other.split()
  return [
    page.Piece(' '.join(words[start:end]), tag != 'equal')
    for tag, _, _, start, end in difflib.SequenceMatcher(
      None,
      [word.lower() for word in before],
      [word.lower() for word in words],
      autojunk=False,
    ).get_opcodes()
    if start < end
  ]


def _picture(
  config: settings.Data, shelf: foil_pictures.Shelf, number: int
) -> content.Picture:
  """Returns a picture with the part that is meant, or without boxes."""
  place, corners = shelf.places()[number], shelf.corners()[number]
  shown = pictures.read(
    config, shelf.split(place.split), place.split, place.number
  )
  return dataclasses.replace(shown, boxes=[corners] if corners else ())
