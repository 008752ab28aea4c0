"""Writes page.html in the folder of a prepared data set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tagsdc_jax import files
from tagsdc_jax.data import opening, phrases
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.preparing import counting
from tagsdc_jax.reporting.page import prepared as rendering
from tagsdc_jax.reporting.page import prepared_content as content
from tagsdc_jax.runs import prepared_examples
from tagsdc_jax.runtime import progress

PAGE = 'page.html'
# Words that are no part of the vocabulary.
_NUM_WORDS = 12


def write_page(folder: Path, findings: Sequence[str] = ()) -> Path:
  """Writes the page of a prepared data set, whole or not at all.

  Args:
    folder: of a finished data set.
    findings: sentences on what else was noticed.
  Returns:
    the path of the page.
  Raises:
    UserError: if the folder is none, is damaged, or cannot be written.
  """
  path = folder / PAGE
  if folder.is_dir():
    files.check_target(path)
  page = rendering.render(read_page(folder, findings)).encode('utf-8')
  files.write_bytes(path, page)
  return path


def read_page(folder: Path, findings: Sequence[str] = ()) -> content.Page:
  """Returns the contents of the page.

  Regions are read of the examples only, and captions one picture at a time.

  Args and errors: see `write_page`.
  """
  report = _part(prepared.read_metadata(folder), 'report')
  vocabulary = prepared.read_vocabulary(folder)
  stored = prepared.split_sizes(folder)
  names = {*stored, *_part(report, 'counts'), *_part(report, 'left_out')}
  sizes = {
    name: stored.get(name, 0) for name in sorted(names, key=_place_of_split)
  }
  chosen = prepared_examples.choose(sizes)
  counted, found = {}, []
  with progress.progress_bar(
    sum(sizes.values()), 'page of the data', 'pictures'
  ) as bar:
    for name, size in sizes.items():
      counted[name] = counting.Contents()
      shown = {}
      if not size:
        continue
      for number, picture in enumerate(prepared.iterate_pictures(folder, name)):
        counted[name].add(picture, vocabulary)
        if number in chosen[name]:
          shown[number] = picture
        bar.update(1)
      found += prepared_examples.make(
        folder, name, shown, vocabulary, report.get('photos') or ''
      )
  total = sum(counted.values(), counting.Contents())
  return content.Page(
    folder.resolve().name,
    [_split(name, one, total, report) for name, one in counted.items()],
    [
      *(report.get('findings') or ()),
      *findings,
      *_own_findings(counted, found),
    ],
    total.unknown_words.most_common(_NUM_WORDS),
    bool(vocabulary.words),
    bool(report.get('photos')),
    found,
    [
      content.Source(
        str(source.get('what') or 'source'),
        str(source.get('path') or ''),
        str(source.get('kind') or ''),
        str(source.get('hash') or ''),
        int(source.get('bytes') or 0),
      )
      for source in report.get('sources') or ()
    ],
    {
      str(name): str(value)
      for name, value in _part(report, 'choices').items()
      if value not in (None, '')
    },
  )


def _split(
  name: str,
  counts: counting.Contents,
  total: counting.Contents,
  report: Mapping[str, Any],
) -> content.Split:
  published = _part(report, 'published').get(name)
  left_out = _part(_part(report, 'left_out'), name)
  return content.Split(
    name,
    counts.pictures,
    counts.captions,
    None if published is None else int(published),
    left_out.get('count'),
    left_out.get('reasons') or (),
    counts.tokens,
    counts.regions,
    {
      prepared_examples.KINDS[kind]: _by_number(counts, kind)
      for kind in _kinds(total)
    },
    counts.bare,
    counts.unknown,
    _part(_part(report, 'counts'), name),
  )


def _kinds(total: counting.Contents) -> list[int]:
  """Returns the kinds to show: a kind of which there are none is a finding."""
  known = [phrases.OBJECT, phrases.ATTRIBUTE, phrases.RELATION]
  return [
    *(known if any(kind in total.phrases for kind in known) else ()),
    *([0] if 0 in total.phrases else ()),
  ]


def _by_number(counts: counting.Contents, kind: int) -> Counter[int]:
  return counts.phrases_of(kind) if counts.captions else Counter()


def _own_findings(
  counted: Mapping[str, counting.Contents], found: list[content.Example]
) -> list[str]:
  """Returns what only reading the data set shows."""
  findings = [
    f'{name} is empty.'
    for name, counts in counted.items()
    if not counts.pictures
  ]
  findings += [
    f'There is no split {name}.'
    for name in opening.SPLITS
    if name not in counted
  ]
  odd = [
    caption
    for item in found
    for caption in item.captions
    if not caption.is_decoded
  ]
  if odd:
    findings.append(
      f'Tokens of {len(odd)} of the captions below do not decode to their text.'
    )
  return findings


def _place_of_split(name: str) -> tuple[int, str]:
  known = opening.SPLITS
  return (known.index(name) if name in known else len(known), name)


def _part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
  """Returns a dict in a dict; empty if it is missing."""
  found = values.get(key)
  return found if isinstance(found, Mapping) else {}
