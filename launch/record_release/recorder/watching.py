"""Intercepts calls inside the release: their inputs and outputs."""

import contextlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

Call = NamedTuple(
  'Call', [('arguments', tuple), ('keywords', Dict[str, Any]), ('result', Any)]
)


@contextlib.contextmanager
def replaced(
  owner: Any, name: str, replace: Callable[[Callable], Any]
) -> Iterator[None]:
  """Replaces an attribute for the duration of a block.

  Args:
    owner: object, class or module.
    name: of the attribute.
    replace: takes the original and returns its replacement.
  """
  # What is inherited, or is a method, is uncovered again, never copied down.
  is_own = name in vars(owner)
  original = getattr(owner, name)
  setattr(owner, name, replace(original))
  try:
    yield
  finally:
    if is_own:
      setattr(owner, name, original)
    else:
      delattr(owner, name)


@contextlib.contextmanager
def logged(owner: Any, name: str) -> Iterator[List[Call]]:
  """Yields a list of the calls that the block makes to a function.

  Inputs and outputs are stored without copying.
  """
  calls: List[Call] = []

  def replace(original: Callable) -> Callable:
    def call(*arguments: Any, **keywords: Any) -> Any:
      result = original(*arguments, **keywords)
      calls.append(Call(arguments, keywords, result))
      return result

    return call

  with replaced(owner, name, replace):
    yield calls
