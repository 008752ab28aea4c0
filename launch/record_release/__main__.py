"""Writes recordings of the PyTorch release, for `tagsdc compare`.

Run it as `python launch/record_release --help`. It needs this folder, a
checkout of the release and what the release needs (torch, numpy, lmdb, lz4,
msgpack, msgpack-numpy); any Python from 3.6 on, any torch, no GPU.
"""

import sys

from recorder.arguments import parse
from recorder.problems import Problem


def main() -> int:
  """Returns the exit code: 0 done, 2 bad input, 130 stopped by hand."""
  try:
    options = parse(sys.argv[1:])
    # Not above: help and wrong options are answered without torch.
    from recorder import recording

    recording.record(options)
  except ModuleNotFoundError as error:
    print(
      'record_release: {}; run it where the release runs, or: pip install '
      'torch numpy lmdb lz4 msgpack msgpack-numpy'.format(error),
      file=sys.stderr,
    )
    return 2
  except (Problem, OSError) as problem:
    print('record_release: {}'.format(problem), file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('record_release: stopped; --out is not complete', file=sys.stderr)
    return 130
  return 0


if __name__ == '__main__':
  sys.exit(main())
