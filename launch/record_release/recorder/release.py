"""The release's modules, imported from its checkout at run time."""

import importlib
import logging
import subprocess
import sys
from types import ModuleType
from typing import List, NamedTuple, Optional

from recorder import standins
from recorder.problems import Problem

Release = NamedTuple(
  'Release',
  [
    ('stage1', type),
    ('stage2', type),
    ('layer', ModuleType),
    ('data', ModuleType),
    ('itm', ModuleType),
    ('pnsgd', ModuleType),
    ('itm_eval', ModuleType),
    ('misc', ModuleType),
    ('commit', Optional[str]),
    ('standins', List[str]),
  ],
)


def load(folder: str) -> Release:
  """Returns the release's modules and classes.

  Args:
    folder: its checkout, which is put first on Python's path.
  Raises:
    Problem: if it cannot be imported.
  """
  stood_in = standins.install()
  sys.path.insert(0, folder)
  modules = {}
  try:
    for name in (
      'model.nsgd',
      'model.nsgd2',
      'model.layer',
      'data.data',
      'data.itm',
      'data.pnsgd',
      'utils.itm_eval',
      'utils.misc',
    ):
      modules[name] = importlib.import_module(name)
  except Exception as error:
    raise Problem(
      '--release {}: importing {} failed, {}: {}'.format(
        folder, name, type(error).__name__, error
      )
    ) from error
  # A single process needs no launcher, but real horovod must be initialized.
  modules['data.data'].hvd.init()
  # The release logs every model that it creates.
  logging.disable(logging.INFO)
  return Release(
    modules['model.nsgd'].UniterForNSGD,
    modules['model.nsgd2'].UniterForNSGD2,
    modules['model.layer'],
    modules['data.data'],
    modules['data.itm'],
    modules['data.pnsgd'],
    modules['utils.itm_eval'],
    modules['utils.misc'],
    _commit(folder),
    stood_in,
  )


def _commit(folder: str) -> Optional[str]:
  """Returns the checkout's commit; None if git cannot tell."""
  try:
    output = subprocess.check_output(
      ['git', 'rev-parse', 'HEAD'], cwd=folder, stderr=subprocess.DEVNULL
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return output.decode('ascii').strip()
