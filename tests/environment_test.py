"""Variables that JAX reads: wrong, foreign, and those that change draws."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import pytest

from tagsdc_jax import environment


def _run(code, **variables):
  return subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)],
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
    env=os.environ | variables,
  )


def test_draws_and_numbers_are_those_without_variables():
  # A fresh process without any has the same values: no hash has changed.
  plain = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith('JAX_')
  }
  shown = subprocess.run(
    [
      sys.executable,
      '-c',
      textwrap.dedent("""
      import json, jax
      from tagsdc_jax import environment
      print(json.dumps({name: environment._plain(jax.config.values[name])
                        for name in environment.SETTLED}))
      environment.settle()
      """),
    ],
    capture_output=True,
    text=True,
    check=True,
    env=plain,
  )
  assert json.loads(shown.stdout) == environment.SETTLED
  assert not shown.stderr


# By name, one that changes it.
_FOREIGN = {
  'JAX_ENABLE_X64': '1',
  'JAX_DEFAULT_PRNG_IMPL': 'rbg',
  'JAX_THREEFRY_PARTITIONABLE': '0',
  'JAX_RANDOM_SEED_OFFSET': '3',
  'JAX_HIGH_DYNAMIC_RANGE_GUMBEL': '1',
  'JAX_ENABLE_CUSTOM_PRNG': '1',
  'JAX_NUMPY_DTYPE_PROMOTION': 'strict',
  'JAX_SOFTMAX_CUSTOM_JVP': '1',
  'JAX_DISABLE_JIT': '1',
  'JAX_NO_EXECUTION': '1',
  'JAX_NO_TRACING': '1',
  'JAX_DEBUG_KEY_REUSE': '1',
  'JAX_TRANSFER_GUARD': 'disallow',
}


def test_variables_change_no_draw_and_no_number():
  code = """
      import jax
      import jax.numpy as jnp
      from tagsdc_jax import environment
      environment.settle()
      key = jax.random.key(5)
      draws = jax.random.uniform(key, (3,)), jax.random.gumbel(key, (2,))
      print(*draws, jnp.arange(3).dtype, jnp.ones(2) + jnp.arange(2),
            jax.jit(jax.grad(lambda x: jax.nn.softmax(x)[0]))(draws[0]))
      """
  expected, found = _run(code), _run(code, **_FOREIGN)
  assert expected.returncode == found.returncode == 0, found.stderr
  assert found.stdout == expected.stdout and 'int32' in found.stdout
  lines = found.stderr.splitlines()
  # The guard is three settings.
  assert len(lines) == len(_FOREIGN) + 2
  for name in _FOREIGN:
    assert any(line.startswith(name) for line in lines)


@pytest.mark.parametrize(
  'name, value',
  [
    ('JAX_ENABLE_X64', 'maybe'),
    ('JAX_NUM_CPU_DEVICES', 'abc'),
    ('JAX_DEFAULT_MATMUL_PRECISION', 'abc'),
  ],
)
def test_a_value_that_jax_cannot_read_is_a_line(name, value):
  ended = _run('from tagsdc_jax import main', **{name: value})
  assert ended.returncode == 2
  (line,) = ended.stderr.splitlines()
  assert line.startswith('tagsdc: JAX cannot start in this environment')
  assert f'{name}={value!r}' in line


@pytest.mark.parametrize(
  'name, value',
  [
    ('JAX_PLATFORMS', 'cuda'),  # Known to JAX, and not installed.
    ('JAX_NUM_CPU_DEVICES', '0'),
  ],
)
def test_a_platform_that_is_not_there_is_named(name, value):
  if value == 'cuda' and jax.default_backend() != 'cpu':
    pytest.skip('there is a GPU')
  ended = _run(
    """
      from tagsdc_jax import environment, errors
      try:
        environment.open_devices()
      except errors.UserError as error:
        print(error)
      """,
    **{'XLA_FLAGS': '', name: value},
  )
  (line,) = ended.stdout.splitlines()
  assert line.startswith('JAX finds no device (')
  assert f'Change or unset {name}={value!r}' in line or (
    f', {name}={value!r}' in line
  )


def test_it_is_no_fault_of_a_checkpoint():
  # Before anything is looked for.
  ended = _run(
    """
      import sys
      from tagsdc_jax import main
      sys.exit(main.main(['evaluate', 'missing']))
      """,
    JAX_PLATFORMS='nonsense',
  )
  assert ended.returncode == 2, ended.stderr
  (line,) = ended.stderr.splitlines()
  assert line.startswith(
    'tagsdc evaluate: JAX finds no device (Unable to '
    "initialize backend 'nonsense'"
  )
  assert line.endswith('without it, JAX uses cpu')


def test_closed_streams_are_nobody_elses(tmp_path):
  # As `>&- 2>&-`: the next file would be standard output.
  ended = subprocess.run(
    [
      'sh',
      '-c',
      'exec "$0" -c "$1" <&- >&- 2>&-',
      sys.executable,
      textwrap.dedent(f"""
           import os, sys
           from tagsdc_jax import environment
           environment.open_streams()
           with open({str(tmp_path / 'file')!r}, 'w') as file:
             print('table', flush=True)
             print('note', file=sys.stderr, flush=True)
             file.write(f'{{file.fileno() > 2}} {{sys.stdin.read()!r}}')
           """),
    ],
    check=False,
    timeout=60,
  )
  assert ended.returncode == 0
  assert (tmp_path / 'file').read_text('utf-8') == "True ''"
