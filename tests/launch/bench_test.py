"""The benchmark: rows by hand, both programs alike, a bare machine."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax import arrays, settings

ROOT = Path(__file__).parents[2]
BENCH = ROOT / 'launch' / 'bench'
# What comes with the package but not with JAX, flax, optax and numpy.
ABSENT = (
  'grain',
  'lmdb',
  'matplotlib',
  'ml_collections',
  'msgpack_numpy',
  'PIL',
  'tensorboardX',
  'tensorflow_datasets',
  'tqdm',
  'transformers',
)


@pytest.fixture(name='benchmark')
def _benchmark(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCH))
  import benchmark.counting
  import benchmark.ours
  import benchmark.problem

  return benchmark


def test_padding_by_hand(benchmark):
  model = settings.Model(num_layers=2, hidden_size=4, intermediate_size=8)
  # Sorted 9 7 | 6 4 3: of buckets 9 and 6, two and three rows of 18 tokens.
  work = benchmark.counting.queue_work(
    model, np.array([4, 9, 3, 7, 6]), (4, 6, 9), 18
  )
  assert (work.real_tokens, work.padded_tokens) == (29, 2 * 18)
  assert work.padding == pytest.approx(1 - 29 / 36)
  # No more than there is to run.
  work = benchmark.counting.queue_work(model, np.array([4, 3]), (4, 9), 99)
  assert (work.real_tokens, work.padded_tokens) == (7, 18)


@pytest.mark.parametrize(
  'devices, micro_batches, used',
  [(1, 4, 1), (2, 4, 2), (3, 4, 2), (64, 4, 4), (8, 1, 1), (4, 6, 3)],
)
def test_devices_with_equal_shares(
  benchmark, monkeypatch, devices, micro_batches, used
):
  monkeypatch.setattr(
    benchmark.ours.jax, 'local_devices', lambda: list(range(devices))
  )
  assert benchmark.ours.training_devices(micro_batches) == list(range(used))


def test_candidates_by_hand(benchmark):
  texts = arrays.Texts(None, np.array([5]))
  images = arrays.Images(None, None, np.array([3]))
  pool_texts = arrays.Texts(None, np.array([4, 6]))
  pool_images = arrays.Images(None, None, np.array([1, 2]))
  batch = arrays.MicroBatch(
    None,
    None,
    texts,
    images,
    None,
    None,
    None,
    pool_texts,
    pool_images,
    None,
    None,
  )
  lengths = benchmark.counting.candidate_lengths(batch, np.array([2]))
  assert lengths.tolist() == [7, 9, 6, 7, 8, 8]


def test_evaluation_needs_nothing_but_jax_flax_optax_and_numpy(tmp_path):
  blocked = ''.join(f'sys.modules[{name!r}] = None\n' for name in ABSENT)
  code = (
    f'import sys\n{blocked}sys.path[:0] = [{str(BENCH)!r}, {str(ROOT)!r}]'
    f'\nsys.argv[1:] = ["tiny", "--items", "evaluation", "--out", '
    f'{str(tmp_path)!r}]\nimport runpy\n'
    f'import tagsdc_jax.objectives.hard_negatives\n'
    f'runpy.run_path({str(BENCH / "__main__.py")!r}, '
    'run_name="__main__")\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr[-2000:]
  assert 'pairs per second' in done.stdout
  found = json.loads((tmp_path / 'bench.json').read_text('utf-8'))
  assert found['evaluation']['ours'] > 0
  if 'torch' in found:
    assert found['evaluation']['ratio'] > 0
    assert found['evaluation']['largest_difference'] < 1e-6


@pytest.mark.parametrize('phase', ['tags', 'dc'])
def test_eager_steps_train_what_the_phase_trains(benchmark, phase):
  pytest.importorskip('torch')
  import dataclasses

  import benchmark.eager_steps
  from tagsdc_jax.training import head_init

  problem = benchmark.problem.make('tiny', None, None, None, [])
  problem = dataclasses.replace(
    problem, config=dataclasses.replace(problem.config, phase=phase)
  )
  eager = benchmark.eager_steps.Eager(
    problem, head_init.start_heads(problem.params, 'pretrain', phase)
  )
  batch = eager.put(problem.micro_batch(0))
  length = int(batch.texts.num_tokens[0])
  masked = batch.texts.token_ids.repeat(2, 1)
  is_target = masked < 0
  is_target[0, 1], is_target[1, length - 2] = True, True
  assert eager.train_positive(batch, masked, is_target) > 0
  trained = {
    name
    for name, tree in eager.net.params.items()
    if any(
      x.grad is not None and float(x.grad.abs().max()) > 0
      for x in benchmark.eager_net.leaves(tree)
    )
  }
  expected = {
    'encoder',
    'image_embeddings',
    'mlm_output',
    'pooler',
    'rank_output',
    'text_embeddings',
  }
  if phase == 'dc':
    expected |= {'disc_output', 'correction_output'}
  assert trained == expected


def test_runs_in_turns(benchmark, monkeypatch):
  import benchmark.timing

  now = [0.0]
  monkeypatch.setattr(benchmark.timing.time, 'perf_counter', lambda: now[0])
  called = []

  def take(name, seconds):
    def run(number):
      called.append((name, number))
      now[0] += seconds[number]

    return run

  # The first round is slow and does not count; of the others the median.
  assert benchmark.timing.medians_in_turns(
    [take('a', [9, 1, 3, 2]), take('b', [9, 5, 5, 7])], 3
  ) == [2, 5]
  assert called == [(name, n) for n in range(4) for name in 'ab']


@pytest.mark.parametrize(
  'change, message',
  [
    ('score_token=3', 'compute.score_token is not a setting'),
    ('attention=flash', 'compute.attention must be one of plain, xla, cudnn'),
    ('score_tokens=many', 'compute.score_tokens must be a whole number from 1'),
    ('recompute_layers=yes', 'compute.recompute_layers must be true or false'),
  ],
)
def test_bad_settings_are_one_line(change, message, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      str(BENCH),
      'tiny',
      '--set',
      change,
      '--out',
      str(tmp_path),
    ],
    capture_output=True,
    text=True,
    check=False,
    env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'},
  )
  assert done.returncode == 2
  assert message in done.stderr
  assert 'Traceback' not in done.stderr
