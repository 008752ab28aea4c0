"""Prints a quality card in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import markup
from rich.table import Table

from tagsdc_jax.reporting import tables
from tagsdc_jax.reporting.page import card_content, card_text


def print_card(card: Mapping[str, Any]) -> None:
  """Prints a quality card: a sentence, a table by kind, and what was dropped.

  Args:
    card: from `negative_files.card`; numbers may be missing.
  """
  numbers = card_content.read_numbers(card)
  table = Table(title='negatives by kind, percent; scores are medians')
  table.add_column('', no_wrap=True)
  columns = card_text.columns(numbers)
  for name in ('negatives', *columns.values()):
    table.add_column(name.lower(), justify='right')
  for row in (numbers.all, *numbers.kinds):
    table.add_row(
      markup.escape(row.name),
      f'{row.count:,}',
      *(card_text.cell(row, name) for name in columns),
      style='bold' if row is numbers.all else '',
    )
  lists = Table(title='what was dropped, and what is equal', show_header=False)
  for justify in ('right', 'right', 'left'):
    lists.add_column(justify=justify)  # type: ignore[arg-type]
  dropped, equal = card_text.dropped(numbers), card_text.duplicates(numbers)
  for place, one in enumerate((*dropped, *equal), 1):
    lists.add_row(
      f'{one.count:,}',
      one.share,
      markup.escape(one.text[:1].lower() + one.text[1:]),
      end_section=place == len(dropped),
    )
  print(card_text.lead(numbers))
  if numbers.negatives:
    tables.print_table(table)
  if dropped or equal:
    tables.print_table(lists)
