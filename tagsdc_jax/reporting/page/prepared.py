"""The page of a prepared data set.

It shows whether the data was understood, before anything is trained on it.
Deterministic: the same content gives the same bytes.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tagsdc_jax.reporting.page import prepared_charts, rendering
from tagsdc_jax.reporting.page.prepared_content import Page, Split
from tagsdc_jax.reporting.page.tables import MISSING


@dataclasses.dataclass(frozen=True)
class Change:
  """Something that preparing changes or counts.

  Attributes:
    of: what is counted: "pictures", "captions", "tokens", "regions", or "" for
      values of features.
    text: what was changed or counted, beside its number.
    meaning: what to think of it.
  """

  of: str
  text: str
  meaning: str


# By their names in the counts of the data set.
CHANGES = {
  'clipped': Change(
    'regions',
    'Boxes that reached beyond their picture, clipped',
    'Detectors overshoot by a few pixels, so a few percent are usual; many '
    'mean that boxes and pictures have different sizes.',
  ),
  'swapped': Change(
    'regions',
    'Boxes with their corners in the wrong order',
    'They were put right. The file was written by an unusual tool: look at the '
    'boxes of the examples.',
  ),
  'exchanged': Change(
    'pictures',
    'Pictures with width and height exchanged',
    'They were put right, so that boxes fit again.',
  ),
  'dropped': Change(
    'regions',
    'Regions without an area, left out',
    'Often rows of zeros that fill a file up to a fixed number of regions.',
  ),
  'cut': Change(
    'regions',
    'Regions beyond the limit, left out',
    'The least confident ones, or the last ones where confidence is unknown.',
  ),
  'reordered': Change(
    'pictures',
    'Pictures with regions not sorted by confidence',
    'They were sorted, so that a limit leaves out the least confident ones.',
  ),
  'overflowed': Change(
    '',
    'Feature values beyond float16',
    'Its largest number is 65,504, and features are usually below 100: look at '
    'the file that they came from.',
  ),
  'tokens_unknown': Change(
    'tokens',
    'Tokens that are not in the vocabulary',
    'The network sees [UNK] in their place. More than one percent means '
    'another language, another vocabulary, or damaged text.',
  ),
  'captions_long': Change(
    'captions',
    'Captions with more tokens than data.max_caption_tokens',
    'Training drops them; evaluation keeps every caption.',
  ),
  'captions_bare': Change(
    'captions',
    'Captions without phrases',
    'Each of their tokens is masked on its own.',
  ),
  'captions_unusable': Change(
    'captions',
    'Captions without usable tokens, left out',
    'They contain [CLS], [SEP], [MASK] or [PAD], or only characters that the '
    'tokenizer drops.',
  ),
}


@dataclasses.dataclass(frozen=True)
class Changed:
  """A row of the changes.

  Attributes:
    count: in all splits.
    text: what was changed or counted.
    share: of all, in percent; empty if unknown.
    splits: how many in each split, if there are several.
    meaning: what to think of it; may be empty.
  """

  count: int
  text: str
  share: str
  splits: str
  meaning: str


def render(page: Page) -> str:
  """Returns the page as HTML without scripts or links to other files."""
  total = total_of(page.splits)
  found = changes(page.splits)
  text = (
    rendering.environment()
    .get_template('prepared.html')
    .render(
      page=page,
      title=f'{page.name} – TAGS-DC',
      lead=lead(page.splits),
      total=total,
      facts=_facts(total),
      rows=[_cells(split) for split in page.splits],
      total_row=_cells(total) if len(page.splits) > 1 else None,
      kinds=[kind for kind in prepared_charts.KINDS if kind in total.phrases],
      kind_names=prepared_charts.KINDS,
      charts=prepared_charts.charts_of(total),
      changed=[row for row in found if row.count],
      unchanged=[
        row.text[0].lower() + row.text[1:] for row in found if not row.count
      ],
      unknown_share=share_text(total.unknown, tokens_of(total)),
      left_out=[
        (
          f'{split.name}: {count_text(split.left_out, "picture")} left out',
          split.reasons,
          split.left_out - len(split.reasons),
        )
        for split in page.splits
        if split.left_out
      ],
      is_square=any(not item.picture.ratio for item in page.examples),
    )
  )
  return text.rstrip() + '\n'


def total_of(splits: Sequence[Split]) -> Split:
  """Returns all splits as one."""
  published = [s.published for s in splits if s.published is not None]
  left_out = [s.left_out for s in splits if s.left_out is not None]
  kinds = {kind for split in splits for kind in split.phrases}
  return Split(
    'All',
    sum(split.pictures for split in splits),
    sum(split.captions for split in splits),
    # Of some splits only, it would look like a difference.
    sum(published) if len(published) == len(splits) > 0 else None,
    sum(left_out) if left_out else None,
    (),
    _sum(split.tokens for split in splits),
    _sum(split.regions for split in splits),
    {
      kind: _sum(split.phrases.get(kind, {}) for split in splits)
      for kind in prepared_charts.KINDS
      if kind in kinds
    },
    sum(split.bare for split in splits),
    sum(split.unknown for split in splits),
    _sum(split.counts for split in splits),
  )


def lead(splits: Sequence[Split]) -> str:
  """Returns one sentence of the numbers that matter most."""
  total = total_of(splits)
  parts = [
    f'{count_text(total.pictures, "picture")} with '
    f'{count_text(total.captions, "caption")}'
  ]
  if total.left_out is not None:
    were = 'was' if total.left_out == 1 else 'were'
    parts.append(
      f'{count_text(total.left_out, "picture")} {were} left out'
      if total.left_out
      else 'no picture was left out'
    )
  if (clipped := total.counts.get('clipped')) is not None:
    were = 'was' if clipped == 1 else 'were'
    share = share_text(clipped, _all_regions(total))
    parts.append(
      f'{count_text(clipped, "box", "boxes")} {were} clipped ({share})'
      if clipped
      else 'nothing was clipped'
    )
  return '; '.join(parts) + '.'


def changes(splits: Sequence[Split]) -> list[Changed]:
  """Returns a row for everything that was counted, also if it is 0."""
  total = total_of(splits)
  whole = {
    'pictures': total.pictures,
    'captions': total.captions,
    'tokens': tokens_of(total),
    'regions': _all_regions(total),
  }
  found = []
  for key, change in CHANGES.items():
    if key not in total.counts:
      continue
    count = total.counts[key]
    parts = [
      f'{split.name} {split.counts[key]:,}'
      for split in splits
      if split.counts.get(key)
    ]
    found.append(
      Changed(
        count,
        change.text,
        f'{share_text(count, whole[change.of])} of {change.of}'
        if change.of
        else '',
        ', '.join(parts) if len(splits) > 1 else '',
        change.meaning,
      )
    )
  return found


def tokens_of(split: Split) -> int:
  """Returns the number of tokens of all captions."""
  return sum(length * count for length, count in split.tokens.items())


def regions_of(split: Split) -> int:
  """Returns the number of regions of all pictures."""
  return sum(number * count for number, count in split.regions.items())


def _all_regions(split: Split) -> int:
  """Returns the number of regions, with those that were left out."""
  counts = split.counts
  return regions_of(split) + counts.get('cut', 0) + counts.get('dropped', 0)


def share_text(count: int, total: int) -> str:
  """Returns a share in percent with two significant digits or one decimal."""
  if not total:
    return MISSING
  percent = 100 * count / total
  if 0 < percent < 0.001:
    return 'below 0.001 %'
  return (
    f'{percent:.1f} %' if percent >= 10 or not count else f'{percent:.2g} %'
  )


def count_text(count: int, one: str, several: str = '') -> str:
  """Returns a number of things, such as "1 box" and "2,000 boxes"."""
  return f'{count:,} {one if count == 1 else several or one + "s"}'


def _sum(counts: Iterable[Mapping]) -> Counter:
  # Counter's own addition drops what is 0.
  total: Counter = Counter()
  for each in counts:
    total.update(each)
  return total


def _most(counts: Mapping[int, int]) -> str:
  return f'{max(counts):,}' if counts else MISSING


def _facts(total: Split) -> list[tuple[str, str, str]]:
  """Returns the headline numbers: (number, name, remark)."""
  if not total.pictures:
    return []
  per_picture = f'{total.captions / total.pictures:.1f} per picture'
  facts = [
    (f'{total.pictures:,}', 'Pictures', ''),
    (f'{total.captions:,}', 'Captions', per_picture),
    (
      f'{regions_of(total):,}',
      'Regions',
      f'{prepared_charts.mean(total.regions)} per picture',
    ),
    (
      f'{tokens_of(total):,}',
      'Tokens',
      f'{prepared_charts.mean(total.tokens)} per caption',
    ),
  ]
  return facts


def _cells(split: Split) -> dict[str, str]:
  """Returns a row of the table of splits."""
  optional = lambda value: MISSING if value is None else f'{value:,}'
  return {
    'name': split.name,
    'pictures': f'{split.pictures:,}',
    'published': optional(split.published),
    'differs': 'differs'
    if split.published not in (None, split.pictures)
    else '',
    'left_out': optional(split.left_out),
    'captions': f'{split.captions:,}',
    'tokens': prepared_charts.mean(split.tokens),
    'longest': _most(split.tokens),
    'regions': prepared_charts.mean(split.regions),
    'most': _most(split.regions),
    **{
      kind: prepared_charts.mean(counts)
      for kind, counts in split.phrases.items()
    },
    'bare': share_text(split.bare, split.captions),
  }
