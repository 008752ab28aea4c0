"""A timer for blocks that take too long."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def after(seconds: float, function: Callable[[], None]) -> Iterator[None]:
  """Calls a function, in another thread, if the block takes longer."""
  timer = threading.Timer(seconds, function)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()
    timer.join()
