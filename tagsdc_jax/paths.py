"""Paths given by users: expands `~`, and refuses paths that are not local.

Every path in an option, a setting or a config file's name passes through here,
so that all are treated alike. Only `folder` and `file` access the disk.
"""

import os
import re
from pathlib import Path

from tagsdc_jax.errors import UserError, named

_SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # Bytes, on Linux.


def problem(text: str) -> str:
  """Returns why a text is not a local path, and what to do.

  Returns '' if it is one, whether or not it exists.
  """
  scheme = _SCHEME.match(text)
  if scheme and scheme[1].lower() == 'file':
    return 'leave out file://'
  if scheme:
    return (
      f'{scheme[0]} is not supported: mount it (a bucket, for example, with '
      'gcsfuse) and give the path of the mounted folder, or copy the files'
    )
  if not text:
    return 'it is empty; pass a path, or . for this folder'
  if '\0' in text:
    return 'a path cannot contain NUL characters'
  home = text.partition('/')[0]
  if home == '~' and os.environ.get('HOME') == '':
    return 'HOME is empty in the environment; pass the full path'
  if home.startswith('~') and os.path.expanduser(home) == home:
    return (
      f'there is no home folder {home}; pass ./{text} for one of that '
      'name in this folder'
    )
  try:
    encoded = os.fsencode(os.path.expanduser(text))
  except UnicodeEncodeError:
    return 'it contains characters that file names cannot have'
  if (
    len(encoded) > _LONGEST_PATH
    or max(map(len, encoded.split(b'/'))) > _LONGEST_NAME
  ):
    return (
      f'a name may have at most {_LONGEST_NAME} bytes, a path '
      f'{_LONGEST_PATH}; pass a shorter one'
    )
  return ''


def expanded(text: str) -> str:
  """Returns the path with a leading `~` or `~user` expanded.

  Nothing else is expanded: `$HOME` is a folder with that name.

  Raises:
    UserError: if it is not a local path; see `problem`.
  """
  reason = problem(text)
  if reason:
    shown = text if len(text) < 100 else f'{text[:100]}...'
    raise UserError(f'{shown!r} cannot be used as a path: {reason}')
  return os.path.expanduser(text)


def local(text: str) -> Path:
  """Returns `expanded` as a Path."""
  return Path(expanded(text))


def folder(text: str) -> Path:
  """Returns `local` for a folder, which need not exist.

  Raises:
    UserError: if it is not a local path, or something else is there.
  """
  path = local(text)
  with named(path, 'used'):
    there = next(x for x in (path, *path.absolute().parents) if x.exists())
    if not there.is_dir():
      raise UserError(
        f'{path} cannot be used as a folder: {there} is a file; '
        'pass another path'
      )
  return path


def file(text: str) -> Path:
  """Returns `local` for a file to read.

  Raises:
    UserError: if it is not a local path, or there is no such file.
  """
  path = local(text)
  with named(path, 'read'):
    if not path.is_file():
      found = (
        'is a folder'
        if path.is_dir()
        # Can be read only once.
        else 'is a pipe or a device'
        if path.exists()
        else 'is missing'
      )
      raise UserError(f'{path} must be a file, but {found}; pass another path')
  return path
