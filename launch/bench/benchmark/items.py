"""The measured items: our rate, eager PyTorch's, and their ratio."""

import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmark import ours, timing
from benchmark.problem import Problem
from tagsdc_jax.data import assembling
from tagsdc_jax.runtime import peak_flop
from tagsdc_jax.training import head_init

_HAS_TORCH = importlib.util.find_spec('torch') is not None
# COCO 5K: the number of pairs of captions and images of the test split.
_COCO_PAIRS = 25_010 * 5_000


def environment(problem: Problem) -> dict[str, Any]:
  """Returns versions, the device, and its peak FLOP rate."""
  found = {
    'device': jax.devices()[0].device_kind,
    'jax': jax.__version__,
    'dtype': problem.config.compute.dtype,
    'peak_flops': peak_flop.flop_per_second(
      jax.devices()[0],
      problem.config.compute.dtype,
      problem.config.compute.matmul_precision,
    ),
  }
  if _HAS_TORCH:
    import torch

    found |= {'torch': torch.__version__, 'threads': torch.get_num_threads()}
  print(
    f'{found["device"]}: {found["peak_flops"] / 1e9:,.0f} GFLOP/s in a '
    f'large {found["dtype"]} product',
    flush=True,
  )
  return found


def evaluation(problem: Problem, about: dict[str, Any]) -> dict[str, Any]:
  """Scores all pairs of the test split; PyTorch scores some of them."""
  found, scores = ours.time_evaluation(problem)
  result = _with_shares(found, about) | {
    'ours': found['pairs_per_second'],
    'unit': 'pairs per second',
    'coco_5k_hours': _COCO_PAIRS / found['pairs_per_second'] / 3600,
  }
  if _HAS_TORCH:
    from benchmark import eager_steps

    data = problem.test
    params = head_init.start_heads(problem.params, 'pretrain', 'tags')
    chosen = np.random.default_rng(0).permutation(len(data.captions))[
      : problem.size.eager_captions
    ]
    texts = assembling.texts(
      data,
      range(len(data.captions)),
      max(len(c.token_ids) for c in data.captions),
    )
    images = assembling.images(
      data, range(len(data.image_ids)), int(data.num_regions.max())
    )
    rates, eager = zip(
      *(
        eager_steps.time_evaluation(
          eager_steps.Eager(problem, params, fused), chosen, texts, images
        )
        for fused in (False, True)
      )
    )
    result |= _compared(result['ours'], *rates) | {
      'largest_difference': float(np.abs(eager - scores[chosen]).max())
    }
  return result


def _stage(
  problem: Problem, about: dict[str, Any], phase: str
) -> dict[str, Any]:
  training = ours.Training(problem, phase)
  runs = [training.run]
  if _HAS_TORCH:
    from benchmark import eager_steps

    runs += [
      eager_steps.training(problem, phase, fused) for fused in (False, True)
    ]
  seconds = timing.medians_in_turns(runs, problem.size.rounds)
  found = training.result(seconds[0])
  result = _with_shares(found, about) | {
    'ours': found['positives_per_second'],
    'unit': 'positives per second',
  }
  if _HAS_TORCH:
    result |= _compared(result['ours'], *(1 / s for s in seconds[1:]))
  return result


def stage1(problem: Problem, about: dict[str, Any]) -> dict[str, Any]:
  """Trains stage 1."""
  return _stage(problem, about, 'tags')


def stage2(problem: Problem, about: dict[str, Any]) -> dict[str, Any]:
  """Trains stage 2."""
  return _stage(problem, about, 'dc')


ITEMS: dict[str, Callable[[Problem, dict[str, Any]], dict[str, Any]]] = {
  'evaluation': evaluation,
  'stage1': stage1,
  'stage2': stage2,
}


def show(name: str, result: dict[str, Any]) -> None:
  """Prints an item in human-readable form."""
  print(
    f'  ours {result["ours"]:.4g} {result["unit"]}'
    + (
      f', PyTorch {result["pytorch"]:.4g}, ratio {result["ratio"]:.2f}; '
      f'with its fused GELU {result["pytorch_fused_gelu"]:.4g}, '
      f'{result["ratio_fused_gelu"]:.2f}'
      if 'ratio' in result
      else ' (PyTorch is not installed)'
    )
  )
  if 'largest_difference' in result:
    print(f'  largest difference of a score {result["largest_difference"]:.1e}')
  if 'share_of_duplicates' in result:
    print(
      f'  repeated sentences, not scored: '
      f'{100 * result["share_of_duplicates"]:.0f} %'
    )
  print(
    f'  scored: {result["real_tokens_scored"]:,.0f} real tokens, '
    f'{result["padded_tokens_scored"]:,.0f} with padding '
    f'({100 * result["padding"]:.1f} % of them)'
  )
  if 'real_tokens_with_gradient' in result:
    print(
      f'  with gradient: {result["real_tokens_with_gradient"]:,.0f} real '
      f'tokens, {result["padded_tokens_with_gradient"]:,.0f} with padding'
    )
  print(
    f'  {result["flops"] / 1e9:,.0f} GFLOP/s of what is needed, '
    f'{100 * result["share_of_peak"]:.0f} % of the peak; compiled in '
    f'{result["compile_seconds"]:.0f} s; peak memory '
    f'{result["peak_memory"] / 2**30:.1f} GiB'
  )
  if 'coco_5k_hours' in result:
    print(
      f'  COCO 5K would take {result["coco_5k_hours"]:.1f} hours', flush=True
    )


def _with_shares(
  found: dict[str, Any], about: dict[str, Any]
) -> dict[str, Any]:
  return found | {
    'share_of_peak': found['flops'] / about['peak_flops'],
    'padding': 1
    - (found['real_tokens_scored'] / found['padded_tokens_scored']),
    'peak_memory': found['peak_memory'],
  }


def _compared(
  ours_rate: float, eager_rate: float, fused_rate: float
) -> dict[str, float]:
  """Returns the rates of eager PyTorch, and the ratios of ours to them."""
  return {
    'pytorch': eager_rate,
    'ratio': ours_rate / eager_rate,
    'pytorch_fused_gelu': fused_rate,
    'ratio_fused_gelu': ours_rate / fused_rate,
  }
