"""Atomic writes of files and folders; streams are written directly.

Content is written to a hidden temporary file or folder beside the target, and
then moved there. It is locked meanwhile, which distinguishes a write by another
process from what a killed write left behind: the next write to the same target
removes the latter.
"""

import codecs
import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tagsdc_jax import errors

_SUFFIX = '.partial'
_LEFTOVER = re.compile(r'\..+\.[0-9a-f]{8}\.partial', re.DOTALL)
# Characters of the target's name in the temporary one: names may have 255
# bytes, characters up to four.
_LONGEST_NAME = 55
_MOST_LINKS = 40
_POINTER = b'version https://git-lfs.github.com/spec/'
_POINTER_MESSAGE = (
  'a Git LFS pointer, not the file itself; run `git lfs pull` in its '
  'repository, or download the file from there'
)
# Bytes read to tell text from binary files.
_HEAD = 4096
_WEB_PAGE = re.compile(
  rb'(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)', re.IGNORECASE
)
_CONTROL = re.compile(r'[\x00-\x08\x0e-\x1f\x7f]')


def write_json(path: Path, content: Any) -> None:
  """Writes JSON-serializable content with `write_whole`."""
  write_bytes(path, (json.dumps(content, indent=1) + '\n').encode('utf-8'))


def write_bytes(path: Path, content: bytes) -> None:
  """Writes bytes with `write_whole`."""
  write_whole(path, lambda file: file.write(content))


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
  """Writes a file whole or not at all, and a stream directly.

  Args:
    path: an existing file is replaced and keeps its mode; symbolic links are
      followed. Devices, pipes and open files (/dev/stdout, /dev/fd/63) are
      written to directly, which cannot be undone.
    write: writes the content to an open file; a stream only offers `write`.
  Raises:
    UserError: if the file system refuses.
  """
  with errors.named(path):
    number, mode = _descriptor(path), _mode(path)
    if number is not None:
      with open(os.dup(number), 'wb') as file:
        write(_Stream(file))  # type: ignore[arg-type]
    elif mode is None or stat.S_ISREG(mode):
      _replace(Path(os.path.realpath(path)), mode, write)
    else:  # Raises for a folder.
      with open(path, 'wb') as file:
        write(_Stream(file))  # type: ignore[arg-type]


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
  """Yields a temporary path that becomes the folder `path` on success.

  Args:
    path: a new folder, or an empty one.
  Raises:
    UserError: if the file system refuses.
  """
  with errors.named(path), contextlib.ExitStack() as stack:
    target = Path(os.path.realpath(path))
    place = _new_place(target)
    place.mkdir()
    stack.callback(shutil.rmtree, place, ignore_errors=True)
    number = os.open(place, os.O_RDONLY)
    stack.callback(os.close, number)
    _lock(number)
    yield place / 'whole'
    (place / 'whole').replace(target)


def check_target(path: Path) -> None:
  """Raises UserError if a target cannot be written; call it before the work.

  A read-only file is refused as well, even if its folder would allow replacing
  it.
  """
  with errors.named(path):
    number, mode = _descriptor(path), _mode(path)
    if number is not None:
      # Raises if the descriptor is not open.
      flags = fcntl.fcntl(number, fcntl.F_GETFL)
      if flags & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, 'Open for reading only')
      return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
      missing = target.parent if path.is_symlink() else path.parent
      raise errors.UserError(
        f'{path} cannot be written: folder {missing} is missing; create it, '
        'or give another path'
      )
    if mode is not None and stat.S_ISDIR(mode):
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    is_stream = mode is not None and not stat.S_ISREG(mode)
    if not (
      (mode is None or _may(target, os.W_OK))
      and (is_stream or _may(target.parent, os.W_OK | os.X_OK))
    ):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if len(os.fsencode(target.name)) > 255:
      raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def check_different(paths: dict[str, Path | None]) -> None:
  """Raises UserError if two options name the same file; None is ignored."""
  seen: dict[str, str] = {}
  for option, path in paths.items():
    if path is None:
      continue
    number = _descriptor(path)
    place = os.path.realpath(path) if number is None else f'/dev/fd/{number}'
    if place in seen:
      raise errors.UserError(
        f'{seen[place]} and {option} are the same file, '
        f'{path}; pass different paths'
      )
    seen[place] = option


def is_stdout(path: Path | None) -> bool:
  """Returns whether a path is this process's standard output."""
  return path is not None and _descriptor(path) == 1


def is_leftover(path: Path) -> bool:
  """Returns whether a name is one that only killed writes leave behind.

  Names that are not hidden come from earlier versions.
  """
  return bool(_LEFTOVER.fullmatch(path.name)) or path.suffix == _SUFFIX


def kind_of_text(path: Path) -> str | None:
  """Returns what a text in place of a binary file is, and what to do.

  Returns None if the file looks binary, is empty, or cannot be read.
  """
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD)
  except OSError:
    return None
  if head.startswith(_POINTER):
    return _POINTER_MESSAGE
  if _WEB_PAGE.match(head):
    return 'a web page; download the file itself, logged in if necessary'
  try:  # A multibyte character may be cut off at the end.
    text = codecs.getincrementaldecoder('utf-8')().decode(head)
  except UnicodeDecodeError:
    return None
  if not text.strip() or _CONTROL.search(text):
    return None
  shown = ' '.join(text.split())[:60]
  return (
    f'text that begins with {shown!r}; download the file itself, logged '
    'in if necessary'
  )


def check_no_pointer(path: Path) -> None:
  """Raises UserError if a file, binary or text, is a Git LFS pointer."""
  with open(path, 'rb') as file:
    if file.read(len(_POINTER)) == _POINTER:
      raise errors.UserError(f'{path} is {_POINTER_MESSAGE}')


class _Stream:
  """A write-only file; numpy would seek in anything that looks like a file."""

  def __init__(self, file: BinaryIO) -> None:
    self._file = file

  def write(self, content: Any) -> int:
    """Writes bytes and returns their number."""
    return self._file.write(content)


def _replace(
  target: Path, mode: int | None, write: Callable[[BinaryIO], Any]
) -> None:
  partial = _new_place(target)
  try:
    # Created with mode 0666 less the user's umask.
    with open(partial, 'xb') as lock:
      _lock(lock.fileno())
      with open(partial, 'wb') as file:
        write(file)
      if mode is not None:
        partial.chmod(stat.S_IMODE(mode))
      partial.replace(target)
  finally:
    partial.unlink(missing_ok=True)


def _may(path: Path, rights: int) -> bool:
  return os.access(
    path, rights, effective_ids=os.access in os.supports_effective_ids
  )


def _new_place(target: Path) -> Path:
  """Returns a new temporary path; removes those left by killed writes."""
  head = f'.{target.name[:_LONGEST_NAME]}.'
  ours = re.compile(re.escape(head) + r'[0-9a-f]{8}\.partial')
  try:
    names = os.listdir(target.parent)
  except OSError:
    names = []  # Writable, but not listable.
  for name in filter(ours.fullmatch, names):
    _remove_unlocked(target.with_name(name))
  return target.with_name(f'{head}{secrets.token_hex(4)}{_SUFFIX}')


def _remove_unlocked(path: Path) -> None:
  with contextlib.suppress(OSError):
    number = os.open(path, os.O_RDONLY)
    try:
      fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
      if path.is_dir():
        shutil.rmtree(path)
      else:
        path.unlink()
    finally:
      os.close(number)


def _lock(number: int) -> None:
  # Some file systems have no locks; nothing is removed there either.
  with contextlib.suppress(OSError):
    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _mode(path: Path) -> int | None:
  """Returns the mode of a path's target, None if there is none."""
  try:
    return os.stat(path).st_mode
  except FileNotFoundError:
    return None


def _descriptor(path: Path) -> int | None:
  """Returns the descriptor of the open file that a path names, or None.

  Such paths are /dev/stdout, /dev/fd/63 and links to them. If opened again, the
  file would be written from its start; some pipes and all sockets cannot be.
  """
  folders = {os.path.realpath('/dev/fd'), os.path.realpath('/proc/self/fd')}
  place = os.path.abspath(path)
  for _ in range(_MOST_LINKS):
    parent, name = os.path.split(place)
    if name.isdecimal() and os.path.realpath(parent) in folders:
      return int(name)
    try:
      place = os.path.join(parent, os.readlink(place))
    except OSError:  # Not a link.
      return None
  return None
