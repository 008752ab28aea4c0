"""Progress for people: bars with the time left, one line in a log file."""

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(total: int, description: str, unit: str,
                 initial: int = 0) -> Iterator[tqdm]:
  """Gives a bar with rate and time left; quiet if done within a second.

  Args:
    total: how much there is to do.
    description: what is being done.
    unit: of what is counted.
    initial: what is done already.
  """
  with tqdm(total=total, desc=description, unit=unit, initial=initial,
            delay=1.0, mininterval=1.0, dynamic_ncols=True,
            unit_scale=total > 100_000, smoothing=0.1) as bar:
    yield bar
