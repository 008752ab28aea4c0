"""The table and the JSON of checked sentences."""

import io
import json

from rich.console import Console

from tagsdc_jax.reporting import checked
from tagsdc_jax.reporting.checked import Checked, Line, Word

_WRONG = Checked(
  text='A blue sunflower.',
  score=-1.0986123,
  probability=0.25,
  words=(
    Word('a', 0.01, 'a'),
    Word('blue', 0.45678912, 'red', is_corrected=True),
    Word('sun', 0.2, 'sun'),
    Word('flower', 0.51, 'flower', is_piece=True),
    Word('.', 0, '.'),
  ),
  corrected='A red sunflower.',
  corrected_score=1.0986123,
)
_LINE = Line('a[b].jpg', 'A blue sunflower.', _WRONG)


def _printed(lines, *, width=90, **options):
  file = io.StringIO()
  console = Console(file=file, width=width, **options)
  checked.print_lines(lines, 'world/test', console)
  return file.getvalue()


def _rows(text):
  """Returns the cells of each line of a table."""
  return [
    [cell.strip() for cell in line.split('│')[1:-1]]
    for line in text.splitlines()
    if line.startswith('│')
  ]


def test_doubtful_words_are_in_brackets_without_colors():
  assert _rows(_printed([_LINE])) == [
    [
      'a[b].jpg',
      '25.0 %',
      'a [blue] [sunflower] .',
      'A red sunflower.',
      '75.0 %',
    ],
    ['', '-1.10', '1 46     51          0', '', '+1.10'],
  ]


def test_doubtful_words_are_marked_with_colors():
  shown = _printed([_LINE], force_terminal=True, color_system='standard')
  assert '\x1b[1;4;31mblue\x1b[0m' in shown and '[blue]' not in shown
  assert '\x1b[1;4;31msunflower\x1b[0m' in shown
  no_color = {'force_terminal': True, 'no_color': True}
  assert '[blue]' in _printed([_LINE], **no_color)


def test_long_sentences_wrap_with_their_numbers():
  words = tuple(Word('word', i / 100, 'word') for i in range(40))
  one = Checked('', 0.0, 0.5, words, '')
  rows = _rows(_printed([Line('x', '', one)], width=60))
  cells = [row[2] for row in rows]
  tops, bottoms = cells[::2], cells[1::2]
  assert len(tops) > 3 and len(tops) == len(bottoms)
  assert ' '.join(tops).split() == ['word'] * 40
  assert ' '.join(bottoms).split() == [str(i) for i in range(40)]
  for top, bottom in zip(tops, bottoms, strict=True):
    assert len(top.split()) == len(bottom.split())


def test_scores_only_and_what_failed():
  plain = Checked('a red star', 0.0, 0.5, (), 'a red star')
  lines = [Line('0', 'a red star', plain), Line('1', 'x', None, 'no word [x]')]
  shown = _printed(lines)
  assert 'proposed' not in shown
  assert _rows(shown) == [
    ['0', '50.0 %', 'a red star'],
    ['', '+0.00', ''],
    ['1', '', 'no word [x]'],
  ]


def test_json():
  plain = {'is_corrected': False, 'is_piece': False}
  assert json.loads(json.dumps(checked.to_json(_LINE))) == {
    'image': 'a[b].jpg',
    'caption': 'A blue sunflower.',
    'score': -1.098612,
    'probability': 0.25,
    'words': [
      {'text': 'a', 'replaced': 0.01, 'suggestion': 'a', **plain},
      {
        'text': 'blue',
        'replaced': 0.456789,
        'suggestion': 'red',
        'is_corrected': True,
        'is_piece': False,
      },
      {'text': 'sun', 'replaced': 0.2, 'suggestion': 'sun', **plain},
      {
        'text': 'flower',
        'replaced': 0.51,
        'suggestion': 'flower',
        'is_corrected': False,
        'is_piece': True,
      },
      {'text': '.', 'replaced': 0, 'suggestion': '.', **plain},
    ],
    'corrected': 'A red sunflower.',
    'corrected_score': 1.098612,
  }
  plain = Checked('a', 0.0, 0.5, (), 'a')
  assert checked.to_json(Line('0', 'a', plain)) == {
    'image': '0',
    'caption': 'a',
    'score': 0.0,
    'probability': 0.5,
  }
  assert checked.to_json(Line('0', 'a', None, 'no')) == {
    'image': '0',
    'caption': 'a',
    'error': 'no',
  }
