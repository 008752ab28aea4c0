"""Times our train step and our evaluation."""

import dataclasses
import time
from typing import Any

import jax
import numpy as np

from benchmark import counting, timing
from benchmark.problem import Problem
from tagsdc_jax import arrays
from tagsdc_jax.engines import engine
from tagsdc_jax.evaluation import matrix, tiles
from tagsdc_jax.models import flop
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import head_init, optimizer, state, step


def task_of(problem: Problem, phase: str) -> engine.Task:
  """Returns the task, which is fixed during training in this phase."""
  config = dataclasses.replace(problem.config, phase=phase)
  return setup.make_task(config, problem.train, problem.shapes)


def updates(problem: Problem, count: int) -> list[arrays.MicroBatch]:
  """Returns the inputs of updates, with micro-batches on a leading axis."""
  micro_batches = problem.config.batch.micro_batches
  return [
    jax.tree.map(
      lambda *xs: np.stack(xs),
      *[
        problem.micro_batch(u * micro_batches + i) for i in range(micro_batches)
      ],
    )
    for u in range(count)
  ]


def training_devices(micro_batches: int) -> list[jax.Device]:
  """Returns the most local devices that divide the micro-batches evenly."""
  devices = jax.local_devices()
  return devices[
    : max(n for n in range(1, len(devices) + 1) if micro_batches % n == 0)
  ]


class Training:
  """Runs a phase's updates one by one."""

  def __init__(self, problem: Problem, phase: str) -> None:
    """Compiles and puts all inputs on the device."""
    self._task = task_of(problem, phase)
    config = self._task.settings
    made = setup.make_phase(self._task)
    tx = optimizer.make_optimizer(
      config.optimizer, config.num_updates, made.untrained
    )
    params = head_init.start_heads(problem.params, 'pretrain', phase)
    host = jax.tree.map(
      np.asarray, state.TrainState(np.int32(0), params, tx.init(params))
    )
    devices = training_devices(config.batch.micro_batches)
    self._batches = updates(problem, 1 + problem.size.rounds)
    shares = [
      jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch)
      for batch in self._batches
    ]
    self._inputs = [parallel.put(share, devices) for share in shares]
    start = time.perf_counter()
    self._program = parallel.compile_step(
      parallel.pmap_step(
        step.make_train_step(config, made.objective, tx, parallel.AXIS), devices
      ),
      (host, jax.tree.map(lambda x: x[0], shares[0])),
      len(devices),
    )
    self._about = {
      'compile_seconds': time.perf_counter() - start,
      'devices': len(devices),
      'program_bytes': parallel.program_memory(self._program),
    }
    self._state = parallel.replicate(host, devices)
    self._found: list[dict[str, float]] = []

  def run(self, number: int) -> None:
    """Runs the next update, which has this number, and waits for it."""
    self._state, metrics = self._program(self._state, self._inputs[number])
    self._found.append(
      {k: float(v) for k, v in parallel.first(metrics).items()}
    )
    # Of the first update, after which PyTorch takes its share.
    self._about.setdefault('peak_memory', timing.peak_memory())

  def result(self, second: float) -> dict[str, Any]:
    """Returns the rate, and how the work is distributed.

    Args:
      second: the time of an update.
    """
    return self._about | _training_result(
      self._task, self._batches[1:], self._found[1:], second
    )


def _training_result(
  task: engine.Task,
  batches: list[arrays.MicroBatch],
  found: list[dict[str, float]],
  second: float,
) -> dict[str, Any]:
  config = task.settings
  rows = config.batch.positives * config.batch.micro_batches
  num_sentences = config.negatives.num_copies * config.negatives.num_samples
  mean = {k: float(np.mean([x[k] for x in found])) for k in found[0]}
  work, gradient = [], []
  for batch, metrics in zip(batches, found, strict=True):
    # Of each positive only the mean is known; their lengths are alike.
    distinct = np.full(
      batch.texts.num_tokens.shape,
      round(metrics['mask_refill_valid'] * num_sentences),
    )
    work.append(
      counting.scoring_work(config, batch, distinct, task.score_buckets)
    )
    gradient.append(
      counting.gradient_tokens(config, batch, task.gradient_buckets)
    )
  needed = 1e9 * mean['gflop_per_positive']
  scored = sum(w.flop for w in work) / rows / len(batches)
  return {
    'positives_per_second': rows / second,
    'seconds_per_positive': second / rows,
    'flop_per_positive': needed,
    'flop_share_of_scoring': scored / needed,
    'flops': needed * rows / second,
    'real_tokens_scored': sum(w.real_tokens for w in work) / len(work),
    'padded_tokens_scored': sum(w.padded_tokens for w in work) / len(work),
    'real_tokens_with_gradient': float(np.mean(gradient, axis=0)[0]),
    'padded_tokens_with_gradient': float(np.mean(gradient, axis=0)[1]),
    'share_of_duplicates': 1 - mean['mask_refill_valid'],
    'loss': mean['loss'],
  }


def time_evaluation(problem: Problem) -> tuple[dict[str, Any], np.ndarray]:
  """Returns pairs per second, and the scores [captions, images]."""
  config, data = problem.config, problem.test
  model = setup.make_model(config)
  devices = jax.local_devices()[:1]
  params = parallel.replicate(
    head_init.start_heads(problem.params, 'pretrain', 'tags'), devices
  )

  def score() -> np.ndarray:
    return matrix.score_matrix(
      model, params, data, config.evaluation, devices=devices
    )

  start = time.perf_counter()
  scores = score()
  first = time.perf_counter() - start
  seconds = timing.median_seconds(score, 1)
  lengths = np.add.outer(
    [len(c.token_ids) + 2 for c in data.captions], data.num_regions
  )
  needed = float(np.sum(flop.scored(config.model, lengths)))
  plan = tiles.make_plan(data, config.evaluation, len(devices))
  return {
    'pairs_per_second': scores.size / seconds,
    'pairs': scores.size,
    'compile_seconds': first - seconds,
    'flops': needed / seconds,
    'peak_memory': timing.peak_memory(),
    'flop_per_pair': needed / scores.size,
    'real_tokens_scored': float(lengths.sum()),
    'padded_tokens_scored': float(lengths.sum() / (1 - plan.padding)),
  }, scores
