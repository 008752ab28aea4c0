"""Reads a pickled dict of numbers without unpickling it.

`pickle.load` can run code. Here the file is only split into its instructions,
and those that build a dict of whole numbers are followed; any other is refused.
"""

import pickletools
from typing import Any

_MARK = object()
_NUMBERS = ('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4')
# They number objects for later use; a dict of numbers never uses them.
_IGNORED = ('PROTO', 'FRAME', 'PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE')


def numbers_of(content: bytes) -> dict[int, int]:
  """Returns the dict of whole numbers in a pickle.

  Args:
    content: all bytes of the file.
  Raises:
    ValueError: if it is anything else, or damaged.
  """
  stack: list[Any] = []
  try:
    for code, value, _ in pickletools.genops(content):
      if code.name == 'STOP':
        break
      if code.name not in _IGNORED:
        _follow(stack, code.name, value)
  except (IndexError, TypeError) as error:
    raise ValueError('it is damaged') from error
  if len(stack) != 1 or not isinstance(stack[0], dict):
    raise ValueError('it is not one dict')
  return stack[0]


def _follow(stack: list[Any], name: str, value: Any) -> None:
  """Follows one instruction."""
  if name in _NUMBERS:
    if type(value) is not int:
      raise ValueError('it contains other things than whole numbers')
    stack.append(value)
  elif name == 'MARK':
    stack.append(_MARK)
  elif name == 'EMPTY_DICT':
    stack.append({})
  elif name == 'DICT':
    items = _since_mark(stack)
    stack.append(_pairs(items))
  elif name == 'SETITEM':
    items = [stack.pop(), stack.pop()][::-1]
    _update(stack, items)
  elif name == 'SETITEMS':
    items = _since_mark(stack)
    _update(stack, items)
  else:
    raise ValueError(f'it contains other things than whole numbers ({name})')


def _since_mark(stack: list[Any]) -> list[Any]:
  items = []
  while (item := stack.pop()) is not _MARK:
    items.append(item)
  return items[::-1]


def _update(stack: list[Any], items: list[Any]) -> None:
  if not isinstance(stack[-1], dict):
    raise ValueError('it is not one dict')
  stack[-1].update(_pairs(items))


def _pairs(items: list[Any]) -> dict[int, int]:
  if len(items) % 2 or any(type(item) is not int for item in items):
    raise ValueError('it contains other things than whole numbers')
  return dict(zip(items[::2], items[1::2]))
