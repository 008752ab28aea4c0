"""Python processes that tests start: as quick to compile as the tests."""

import os
from pathlib import Path

import jax


def prepare(monkeypatch):
  """Sets what processes started from now on inherit, for one test."""
  jax.devices()  # This process reads its own flags first.
  # The same, for the same bits; but who starts processes says how many devices.
  monkeypatch.setenv(
    'XLA_FLAGS',
    ' '.join(
      flag
      for flag in os.environ['XLA_FLAGS'].split()
      if 'device_count' not in flag
    ),
  )
  monkeypatch.setenv(
    'PYTHONPATH',
    os.pathsep.join(
      [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]
    ),
  )
  for name in (
    'jax_compilation_cache_dir',
    'jax_persistent_cache_min_compile_time_secs',
  ):
    monkeypatch.setenv(name.upper(), str(getattr(jax.config, name)))
