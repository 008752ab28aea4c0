"""Which refusals of the file system become a line."""

import errno
import os
from pathlib import Path

import pytest

from tagsdc_jax import errors


def _os_error(number):
  return OSError(number, os.strerror(number), 'some/file')


@pytest.mark.parametrize(
  'error, line',
  [
    (_os_error(errno.ENOSPC), 'no space is left there'),
    (_os_error(errno.EDQUOT), 'no space is left there'),
    (_os_error(errno.EACCES), 'permission denied'),
    (_os_error(errno.ENOTDIR), 'Not a directory'),
    # Libraries in C++ have their own exceptions.
    (
      RuntimeError('write() failed: No space left on device; at byte 9'),
      'no space is left there',
    ),
    (OSError('2880 requested and 992 written'), 'no space is left there'),
  ],
)
def test_a_refusal_is_told(error, line):
  assert errors.refusal(error).startswith(line)
  with pytest.raises(errors.UserError) as caught, errors.named(Path('a/b')):
    raise error
  assert str(caught.value).startswith(f'a/b cannot be written: {line}')


def test_other_errors_pass():
  assert errors.refusal(ValueError('a bug')) is None
  for error in (ValueError('a bug'), errors.UserError('said already')):
    with pytest.raises(type(error), match=str(error)):
      with errors.named(Path('a')):
        raise error
