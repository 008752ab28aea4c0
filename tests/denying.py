"""Files that may not be read, also where root runs the tests."""

import contextlib
import os
import pathlib
import shutil
import tempfile

NOBODY = 65534


@contextlib.contextmanager
def open_folder():
  """Gives a new folder of whom `denied` makes us; pytest's are for others."""
  path = pathlib.Path(tempfile.mkdtemp())
  if os.geteuid() == 0:
    os.chown(path, NOBODY, -1)
  try:
    path.chmod(0o755)
    yield path
  finally:
    shutil.rmtree(path)


@contextlib.contextmanager
def denied(path):
  """Takes all rights on a file or folder away, and root's privileges."""
  mode, user = path.stat().st_mode, os.geteuid()
  path.chmod(0)
  if user == 0:
    os.seteuid(NOBODY)
  try:
    yield
  finally:
    os.seteuid(user)
    path.chmod(mode)
