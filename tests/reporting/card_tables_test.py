"""The quality card in the terminal."""

import pytest

from tagsdc_jax.negative_files import card
from tagsdc_jax.reporting import card_tables
from tests.negative_files.making import captioned, negative

DOG = 'a red dog'


def _made():
  return card.make(
    captioned(
      number,
      DOG,
      2.0,
      negative(DOG, 'dog', 'cow', 3.0),
      negative(DOG, 'red', 'blue', 1.0, 'attribute[s]'),
      dropped={'repeated': 3, '[odd': 1},
    )
    for number in range(4)
  )


def test_a_card_is_printed(capsys):
  card_tables.print_card(_made())
  shown = capsys.readouterr().out
  assert shown.startswith('8 negatives of 4 captions, 2.0 each; every caption')
  rows = {
    cells[0]: cells[1:]
    for line in shown.splitlines()
    if line.startswith('│')
    for cells in [[cell.strip() for cell in line.strip('│').split('│')]]
  }
  assert rows['all'] == ['8', '50.0', '+0.00', '100.0']
  assert rows['object'] == ['4', '100.0', '+1.00', '100.0']
  # No markup of rich's.
  assert rows['attribute[s]'][:2] == ['4', '0.0']
  assert rows['12'][:1] == ['50.0 %'] and rows['4'] == ['16.7 %', '[odd']
  assert rows['0'][1].startswith('equal to')


@pytest.mark.parametrize('made', [{}, card.make([])])
def test_an_empty_card_is_printed(made, capsys):
  card_tables.print_card(made)
  shown = capsys.readouterr().out
  assert shown.startswith('0 captions, and not a single negative.')
