"""Compiled programs: kept where JAX was not told otherwise; dropped if many."""

import jax
import pytest

from tagsdc_jax.runtime import programs


@pytest.fixture(name='cache_dir')
def _cache_dir():
  """The setting, which the test may change."""
  name = 'jax_compilation_cache_dir'
  before = getattr(jax.config, name)
  yield lambda: getattr(jax.config, name), lambda x: jax.config.update(name, x)
  jax.config.update(name, before)


def test_programs_are_kept_unless_jax_keeps_them_elsewhere(cache_dir, tmp_path):
  get, put = cache_dir
  put(None)
  programs.keep(tmp_path / 'programs')
  assert get() == str(tmp_path / 'programs')
  programs.keep(tmp_path / 'other')
  assert get() == str(tmp_path / 'programs')


@pytest.mark.parametrize('number, is_many', [(3, False), (4, True)])
def test_programs_are_dropped_if_they_take_many_mappings(
  number, is_many, monkeypatch, tmp_path
):
  (tmp_path / 'maps').write_text('a mapping\n' * number, 'utf-8')
  monkeypatch.setattr(programs, '_MAPPINGS', tmp_path / 'maps')
  monkeypatch.setattr(programs, '_MANY_MAPPINGS', 3)
  dropped = []
  monkeypatch.setattr(jax, 'clear_caches', lambda: dropped.append(True))
  programs.drop_if_many()
  assert bool(dropped) == is_many


def test_elsewhere_than_on_linux_nothing_is_dropped(monkeypatch, tmp_path):
  monkeypatch.setattr(programs, '_MAPPINGS', tmp_path / 'none')
  monkeypatch.setattr(jax, 'clear_caches', lambda: pytest.fail('dropped'))
  programs.drop_if_many()
