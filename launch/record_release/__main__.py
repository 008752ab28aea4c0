"""Writes recordings of the PyTorch release, for `tagsdc compare`.

Run it as `python launch/record_release --help`. It needs this folder, a
checkout of the release and the release's dependencies (torch, numpy, lmdb, lz4,
msgpack, msgpack-numpy); any Python >= 3.6, any version of torch, no GPU.
"""

import sys

from recorder.arguments import parse
from recorder.problems import Problem


def main() -> int:
  """Returns the exit code: 0 done, 2 bad input, 130 stopped by hand."""
  try:
    options = parse(sys.argv[1:])
    # Imported here so that --help and option errors do not need torch.
    from recorder import recording

    recording.record(options)
  except ModuleNotFoundError as error:
    print(
      'record_release: {}; run it in the environment of the release, or: pip '
      'install '
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
