"""Data that never comes: a process that waits for ever says so and ends.

The runtime notices when a process or its machine has died, but not when its
threads live and it only never goes on; all others would wait for it.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import jax

# Exit code of such a process.
HUNG = 4
# Data that is slow anyhow may take this many times its longest so far.
_SLOWER = 5.0
_Item = TypeVar('_Item')


def watched(items: Iterator[_Item], seconds: float) -> Iterator[_Item]:
  """Yields the items; a process of several ends if one of them never comes.

  The first one may take as long as it does, since nothing is in memory yet.

  Args:
    items: must not wait for other processes: one hangs, not all.
    seconds: how long each may take, or 5 times the longest before if that is
      more; 0 for ever.
  """
  if jax.process_count() == 1 or not seconds:
    yield from items
    return
  yield from itertools.islice(items, 1)
  longest = 0.0
  while True:
    limit = max(seconds, _SLOWER * longest)
    start = time.monotonic()
    timer = threading.Timer(limit, _end, (limit,))
    timer.daemon = True
    timer.start()
    try:
      item = next(items)
    except StopIteration:
      return
    finally:
      timer.cancel()
    longest = max(longest, time.monotonic() - start)
    yield item


def _end(seconds: float) -> None:
  print(f'tagsdc: process {jax.process_index()} of {jax.process_count()} '
        f'(numbered from 0) has waited {seconds:.0f} s for data and ends; look '
        'at the disk that the data lies on, or raise hang_seconds; what was '
        'saved last is there, give the same command again to continue',
        file=sys.stderr, flush=True)
  os._exit(HUNG)
