"""Every setting with its meaning, for the terminal and for docs/settings.md."""

import dataclasses
import difflib
import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tagsdc_jax import errors, settings
from tagsdc_jax.settings import kinds

# The group of the settings whose names have no prefix.
RUN = 'run'
_ABOUT = {
  RUN: 'What is trained, for how long, and what is saved. These names have no '
  'prefix.'
} | {
  field.name: ' '.join((inspect.getdoc(field.type) or '').split())
  for field in dataclasses.fields(settings.Settings)
  if inspect.isclass(field.type) and dataclasses.is_dataclass(field.type)
}
# Columns from which the range has one of its own.
_WIDE = 140
_PAGE = """# Settings

<!-- Generated: tagsdc settings --markdown > docs/settings.md -->

With this page you can look up any setting: its default, what values it takes
and what it means. `tagsdc settings` shows the same in the terminal, searches it
(`--search WORD`) and shows the values of a config or of a run.

Give a setting on the command line as `--config.NAME=VALUE`, or set it in a
config file, `config.NAME = VALUE`. On the command line, `none` stands for
Python's `None`, several values are separated by commas, and nothing after the
equals sign makes a value empty. A continued run may change only:

{free}.
"""


def named(word: str) -> list[str]:
  """Returns the settings that a word names.

  Args:
    word: a setting, a group, or the last part of a setting's name.
  """
  return [
    name
    for name in settings.ALL
    if word in (name, _group(name), name.rpartition('.')[2])
  ]


def search(names: Sequence[str], words: Sequence[str]) -> list[str]:
  """Returns the settings whose name, meaning or range contains all words.

  Args:
    names: settings to search.
    words: parts of words in any case; blanks separate words, too.
  Raises:
    UserError: if there is none; says what is near.
  """
  words = [part for word in words for part in word.lower().split()]
  if not words:
    raise errors.UserError('--search needs a word to search for')
  texts = {name: _text(name) for name in names}
  found = [name for name in names if all(word in texts[name] for word in words)]
  if found:
    return found
  for word in words:
    if not any(word in text for text in texts.values()):
      known = set(re.findall(r'[^\W_]+|\w+', ' '.join(texts.values())))
      raise errors.UserError(
        f'no setting contains {kinds.shown(word)}; nearest: '
        f'{difflib.get_close_matches(word, sorted(known), 1, 0)[0]}'
      )
  raise errors.UserError(
    f'no setting contains all of {", ".join(words)}; pass fewer words'
  )


def print_settings(
  names: Sequence[str], values: Mapping[str, Any] | None = None, of: str = ''
) -> None:
  """Prints settings by group, as wide as the terminal.

  Args:
    names: settings, in their order.
    values: flat settings to show beside the defaults; those that differ are
      marked.
    of: whose values they are.
  """
  console = Console(highlight=False)
  changed = 0
  for group, about in _ABOUT.items():
    in_group = [name for name in names if _group(name) == group]
    if not in_group:
      continue
    console.print(Text.assemble((group, 'bold'), f': {about}\n'))
    table = _make_table(console.width, has_values=values is not None)
    for name in in_group:
      setting = settings.ALL[name]
      default = kinds.spelled(setting.default)
      value = default if values is None else kinds.spelled(values[name])
      mark, style = ('* ', 'bold') if value != default else ('  ', '')
      changed += value != default
      row = [Text(name, style), Text(default)]
      if values is not None:
        row.append(Text(mark + value, style))
      kind = str(setting.kind)
      if console.width < _WIDE:
        range_of = (f' {kind[0].upper()}{kind[1:]}.', 'dim')
        row.append(Text.assemble(setting.meaning, range_of))
      else:
        row += [Text(setting.meaning), Text(kind, 'dim')]
      table.add_row(*row)
    console.print(table, '')
  if values is not None:
    counts = f'{changed} of {len(names)} settings'
    console.print(Text(f'* differs from the default: {counts} of {of}'))


def _make_table(width: int, has_values: bool) -> Table:
  """Returns a table without rows; a wide one has the range as a column."""
  table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
  # Folding every name would be the price of a few columns for the meaning.
  table.add_column('setting', no_wrap=width >= 60, overflow='fold')
  for title in ['default', '  value'][: 1 + has_values]:
    table.add_column(title, max_width=max(9, width // 6), overflow='fold')
  if width < _WIDE:
    table.add_column('meaning and range', overflow='fold')
  else:
    table.add_column('meaning', ratio=2)
    table.add_column('range', ratio=1)
  return table


def markdown() -> str:
  """Returns docs/settings.md."""
  free = ', '.join(f'`{name}`' for name in settings.FREE_TO_CHANGE)
  lines = [_PAGE.format(free=textwrap.fill(free, 80))]
  for group, about in _ABOUT.items():
    lines += [f'## {group}', '', about, '']
    lines += ['| setting | default | range | meaning |', '|---|---|---|---|']
    for name in named(group):
      setting = settings.ALL[name]
      default = kinds.spelled(setting.default)
      if default != kinds.EMPTY:
        default = f'`{default}`'
      lines.append(
        f'| `{name}` | {default} | {setting.kind} | {setting.meaning} |'
      )
    lines.append('')
  return '\n'.join(lines)


def _group(name: str) -> str:
  return name.rpartition('.')[0] or RUN


def _text(name: str) -> str:
  setting = settings.ALL[name]
  return f'{name} {setting.meaning} {setting.kind}'.lower()
