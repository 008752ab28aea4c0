"""What the numbers of a quality card say, for the page and the terminal."""

import dataclasses

from tagsdc_jax.evaluation import blind
from tagsdc_jax.negative_files import choosing
from tagsdc_jax.reporting.page import card_charts
from tagsdc_jax.reporting.page.card_content import Numbers, Page, Row
from tagsdc_jax.reporting.page.prepared import count_text, share_text
from tagsdc_jax.reporting.page.tables import number

# What to think of candidates that were dropped, by reason.
MEANINGS = {
  'repeated': 'Most candidates, if few words are likely in place of a mask.',
  'maybe_true': 'Their calibrated probability is above --max-true.',
  'odd': 'They would be told from captions without looking at the picture.',
  'unreadable': 'Usual of short trainings.',
  'same_phrase': 'Beyond --per-unit.',
  'not_needed': 'Beyond --per-caption: those with lower scores.',
}
DUPLICATES = {
  'is_caption': (
    'Equal to another caption of the picture',
    'They are true: do not train with them as negatives.',
  ),
  'is_contained': (
    'Part of another caption of the picture',
    'They are most likely true, and leave something out.',
  ),
  'repeated': (
    'Equal to a negative of another caption',
    'A model can learn a sentence by heart that is often a negative.',
  ),
  'caption_of_file': (
    'Equal to any caption of the file',
    'Sentences that are captions elsewhere: they cannot be told blind.',
  ),
}
# Percent from which a number is a finding.
_MANY_WITHOUT, _LIKELY_TRUE, _BLIND, _VERY_BLIND = 10, 25, 60, 75


# Of the table of kinds; fields of `Row`.
_COLUMNS = {
  'above': 'Above the caption',
  'difference': 'Score difference',
  'probability': 'Mean probability',
  'blind_words': 'Blind, words',
  'blind_head': 'Blind, head',
  'fluency': 'Least likely word',
  'restored': 'Restored',
}


def cell(row: Row, name: str) -> str:
  """Returns a number of a row as text."""
  value = getattr(row, name)
  if name in ('difference', 'fluency') and value is not None:
    return f'{value:+.2f}'
  return number(value)


@dataclasses.dataclass(frozen=True)
class Counted:
  """A line of a list: how many, of what, which share, and what it means."""

  count: int
  text: str
  share: str
  meaning: str = ''


def lead(numbers: Numbers) -> str:
  """Returns the numbers that matter most, in two sentences."""
  if not numbers.negatives:
    return (
      f'{count_text(numbers.captions, "caption")}, and not a single negative.'
    )
  per_caption = numbers.negatives / max(1, numbers.captions)
  first = (
    f'{count_text(numbers.negatives, "negative")} of '
    f'{count_text(numbers.captions, "caption")}, {per_caption:.1f} each; '
    + (
      f'{count_text(numbers.without, "caption")} got none.'
      if numbers.without
      else 'every caption has one at least.'
    )
  )
  parts = []
  if numbers.all.above is not None:
    parts.append(
      f'the matcher prefers {number(numbers.all.above)} % of them to the '
      'caption'
    )
  if numbers.all.probability is not None:
    parts.append(
      'their mean probability to be true is '
      f'{number(numbers.all.probability)} %'
    )
  if numbers.all.blind_words is not None:
    parts.append(
      'a bag of words that never sees the picture prefers the caption in '
      f'{number(numbers.all.blind_words)} % of the pairs, where chance is '
      f'{blind.CHANCE:.0f} %'
    )
  if not parts:
    return first
  said = ', '.join(parts[:-1]) + ', and ' if len(parts) > 1 else ''
  second = said + parts[-1]
  return f'{first} {second[0].upper()}{second[1:]}.'


def findings(page: Page) -> list[str]:
  """Returns what to look at before the negatives are used."""
  numbers, found = page.numbers, []
  if not numbers.negatives:
    return ['There are no negatives: see below what was dropped.']
  if 100 * numbers.without > _MANY_WITHOUT * numbers.captions:
    found.append(
      f'{count_text(numbers.without, "caption")} '
      f'({share_text(numbers.without, numbers.captions)}) got no negative: see '
      'which filter drops most, or draw more candidates.'
    )
  mean = numbers.all.probability
  if mean is None:
    found.append(
      'Nothing is known about how many negatives are true of their picture: '
      'generate with --max-true below 1.'
    )
  elif mean > _LIKELY_TRUE:
    found.append(
      f'The mean probability of the negatives to be true is {number(mean)} %: '
      'lower --max-true.'
    )
  if numbers.duplicates.get('is_caption'):
    equal = count_text(numbers.duplicates['is_caption'], 'negative')
    found.append(f'Equal to another caption of the picture, and true: {equal}.')
  solved = [
    f'{row.name} ({number(percent)} %)'
    for row in numbers.kinds
    if (percent := max(_told(row, name) for name in card_charts.BLIND))
  ]
  if solved:
    found.append(
      'Without the picture, captions can be told from negatives of these '
      f'kinds: {", ".join(solved)}.'
    )
  return found


def blind_text(numbers: Numbers) -> str:
  """Returns what the blind baseline says."""
  found = card_charts.interval(numbers.all, 'words')
  if found is None:
    return 'There are too few pictures to measure it.'
  value, low, _ = found
  if low <= blind.CHANCE:
    return (
      f'Words alone do not tell captions from negatives: {number(value)} % is '
      'what chance gives. A model that is right more often has looked at the '
      'pictures, or knows which sentences are plausible.'
    )
  degree = (
    'a little better than chance. That is usual: replaced words are drawn from '
    'a model, not from people.'
    if value < _BLIND
    else 'better than chance. A training can lower its loss without looking, '
    'and a benchmark of these pairs must be reported beside this number.'
    if value < _VERY_BLIND
    else 'far better than chance. Do not train or test with these negatives '
    'before the words that give them away are gone: see the replacements below.'
  )
  return f'A bag of words is right in {number(value)} % of the pairs, {degree}'


def dropped(numbers: Numbers) -> list[Counted]:
  """Returns why candidates were dropped, the most frequent reason first."""
  candidates = numbers.negatives + sum(numbers.dropped.values())
  return [
    Counted(
      count,
      _sentence(choosing.REASONS.get(reason, reason.replace('_', ' '))),
      share_text(count, candidates),
      MEANINGS.get(reason, ''),
    )
    for reason, count in numbers.dropped.items()
  ]


def duplicates(numbers: Numbers) -> list[Counted]:
  """Returns which negatives equal something, also if none do."""
  return [
    Counted(
      numbers.duplicates[name],
      text,
      share_text(numbers.duplicates[name], numbers.negatives),
      meaning if numbers.duplicates[name] else '',
    )
    for name, (text, meaning) in DUPLICATES.items()
    if name in numbers.duplicates
  ]


def _told(row: Row, name: str) -> float:
  """Returns how often a kind is told blind; 0 if it may be by chance."""
  found = card_charts.interval(row, name)
  if found is None or found[0] < _BLIND or found[1] <= blind.CHANCE:
    return 0.0
  return found[0]


def _sentence(text: str) -> str:
  return text[:1].upper() + text[1:]


def columns(numbers: Numbers) -> dict[str, str]:
  """Returns the fields of rows that are known, with their headings."""
  return {
    name: heading
    for name, heading in _COLUMNS.items()
    if is_known(numbers, name)
  }


def is_known(numbers: Numbers, name: str) -> bool:
  """Returns whether a field of any row is known."""
  return any(
    getattr(row, name) is not None for row in (numbers.all, *numbers.kinds)
  )


def facts(numbers: Numbers) -> list[tuple[str, str, str]]:
  """Returns the headline numbers: (number, name, remark)."""
  found = [
    (
      f'{numbers.captions:,}',
      'Captions',
      f'{numbers.without:,} without negatives',
    ),
    (
      f'{numbers.negatives:,}',
      'Negatives',
      f'{numbers.negatives / numbers.captions:.1f} per caption'
      if numbers.captions
      else '',
    ),
  ]
  for value, name, remark in (
    (numbers.all.above, 'Above the caption', 'preferred by the matcher'),
    (numbers.all.probability, 'Mean probability', 'to be true'),
    (numbers.all.blind_words, 'Blind accuracy', f'chance {blind.CHANCE:.0f} %'),
  ):
    if value is not None:
      found.append((f'{number(value)} %', name, remark))
  return found


def lengths(numbers: Numbers) -> str:
  """Returns a sentence on lengths and edits; empty if nothing is known."""
  found = numbers.lengths
  if not {'captions', 'negatives', 'shorter', 'longer'} <= set(found):
    return ''
  text = (
    f'Captions have {number(found["captions"])} words on average, negatives '
    f'{number(found["negatives"])}; {number(found["shorter"])} % of the '
    f'negatives are shorter than their caption, {number(found["longer"])} % '
    'are longer.'
  )
  if numbers.edits:
    text += ' Edits per negative: ' + (
      ', '.join(
        f'{places} in {number(share)} %'
        for places, share in numbers.edits.items()
      )
      + '.'
    )
  return text
