"""Measures parameters with the embedded world's oracle.

The captions and the seed are fixed, so that checkpoints can be compared.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.data import assembling, dataset, loader, opening
from tagsdc_jax.data.world import foils, oracle
from tagsdc_jax.data.world import scenes as world_scenes
from tagsdc_jax.engines import engine
from tagsdc_jax.evaluation import foils as foil_evaluation
from tagsdc_jax.negatives import candidates as candidates_of
from tagsdc_jax.negatives import mining, source
from tagsdc_jax.objectives import parts as parts_of
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import parallel, progress
from tagsdc_jax.training import head_init, keys

Measures = dict[str, dict[str, Any] | None]
# Recipes are chosen on the first and reported on the second.
FOIL_SPLITS = ('validation', 'test')
# The table of texts and images, and each source's candidates.
_Proposed = tuple[candidates_of.Table, tuple[candidates_of.Candidates, ...]]
VERDICTS = ('false', 'still_true', 'not_a_sentence')

_SEED = 0
_PICTURES = 200  # The first validation pictures, one caption of each.
_POSITIVES = 20  # Captions per micro-batch; affects memory and shapes.


@dataclasses.dataclass(frozen=True)
class MeasuredBatches(loader.MicroBatches):
  """Validation captions with pools from the training split.

  `data` is validation joined with train. A validation caption is true of only
  one picture in its split, so pools from there would contain no sentence that
  is still true; the pools of training do.
  """

  num_images: int = 0
  num_captions: int = 0

  def caption_numbers(self, number: int) -> list[int]:
    """Returns one caption of each of the next pictures."""
    first = number * self.positives
    return [
      self.data.captions_of_image[image][0]
      for image in range(first, first + self.positives)
    ]

  def pool(
    self, number: int, image_numbers: list[int]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns N images and N captions of the training split."""
    rng = np.random.default_rng([self.seed, number])
    firsts = self.num_images, self.num_captions
    sizes = len(self.data.image_ids), len(self.data.captions)
    images, texts = (
      rng.choice(np.arange(first, size), self.pool_size, replace=False)
      for first, size in zip(firsts, sizes)
    )
    return images, texts


def measure(
  params: Any,
  config: settings.Settings,
  phase: str,
  train: dataset.RetrievalDataset,
  devices: list[jax.Device],
  start_params: Any = None,
) -> Measures:
  """Measures parameters on the validation and test splits of the world.

  Args:
    params: replicated over the devices.
    config: settings with the data's sizes; its negatives are made and judged.
    phase: the phase that trained the parameters; decides the matching head.
    train: the training split, for the retrieved pools.
    devices: this process's.
    start_params: the phase's initial parameters, for sources that need them;
      None: `params`.
  Returns:
    `foil_accuracy` of each of FOIL_SPLITS, see `evaluation/foils.py`; and, for
    validation captions, the shares of VERDICTS in percent as
    `synthetic_negatives`, among all written sentences that pass the filter, and
    `retrieved_negatives`, among the hardest texts of the pools. The last two
    are None for pretraining, which makes no negatives.
  """
  params = head_init.matching_parameters(params, phase)
  splits = {
    split: (
      opening.open_split(config.data, split),
      opening.load_scenes(config.data, split),
    )
    for split in FOIL_SPLITS
  }
  model = setup.make_model(config)
  measures: Measures = {
    'foil_accuracy': {
      split: foil_evaluation.foil_accuracy(
        model,
        params,
        data,
        foils.make_foils(data, scenes, _SEED),
        devices=devices,
      )
      for split, (data, scenes) in splits.items()
    },
    'synthetic_negatives': None,
    'retrieved_negatives': None,
  }
  if phase == 'pretrain':
    return measures
  synthetic, retrieved = _judge_negatives(
    params,
    params if start_params is None else start_params,
    config,
    *splits['validation'],
    train,
    devices[0],
  )
  return measures | {
    'synthetic_negatives': shares(synthetic),
    'retrieved_negatives': shares(retrieved),
  }


def _judge_negatives(
  params: Any,
  start_params: Any,
  config: settings.Settings,
  data: dataset.RetrievalDataset,
  scenes: Sequence[world_scenes.Scene],
  train: dataset.RetrievalDataset,
  device: jax.Device,
) -> tuple[list[str], list[str]]:
  """Returns verdicts on written sentences and on the hardest texts."""
  joined = opening.join_datasets(data, train)
  shapes = assembling.shapes_of(joined)
  # Only the settings that matter here, so that runs share the compiled program.
  # No dropout: the parameters are measured, not a random draw.
  config = settings.Settings(
    seed=_SEED,
    phase='tags',
    negatives=config.negatives,
    model=dataclasses.replace(config.model, dropout_rate=0.0),
    compute=config.compute,
    extensions=config.extensions,
  )
  program = _program(setup.make_task(config, joined, shapes), device)
  sources = parts_of.of_settings(config).sources
  own, begun = jax.tree.map(
    lambda x: x.addressable_shards[0].data, (params, start_params)
  )
  positives = min(_POSITIVES, len(data.image_ids))
  batches = MeasuredBatches(
    joined,
    shapes,
    _SEED,
    positives,
    config.negatives.pool_size,
    num_images=len(data.image_ids),
    num_captions=len(data.captions),
  )
  synthetic: list[str] = []
  retrieved: list[str] = []
  count = min(_PICTURES, len(data.image_ids)) // positives
  with progress.progress_bar(count, 'judging negatives', 'batches') as bar:
    for number in range(count):
      batch = batches[number]
      proposed, selected = parallel.first(
        program(
          own,
          begun,
          parallel.put(jax.tree.map(lambda x: x[None], batch), [device]),
        )
      )
      found = _ask_oracle(batch, proposed, selected, sources, scenes)
      synthetic += found[0]
      retrieved += found[1]
      bar.update(1)
  return synthetic, retrieved


def _ask_oracle(
  batch: arrays.MicroBatch,
  candidates: _Proposed,
  selected: mining.Selected,
  sources: Sequence[source.Source],
  scenes: Sequence[world_scenes.Scene],
) -> tuple[list[str], list[str]]:
  """Returns verdicts on a micro-batch's sentences and hardest texts."""
  synthetic: list[str] = []
  retrieved: list[str] = []
  table, proposed = candidates
  token_ids, num_tokens = table.texts.token_ids, table.texts.num_tokens

  def judge(rows: arrays.Array, scene: world_scenes.Scene) -> list[str]:
    return [
      oracle.judge_ids(token_ids[row, 1 : num_tokens[row] - 1], scene)
      for row in rows
    ]

  for i, image in enumerate(batch.image_numbers):
    for number, (one, own) in enumerate(zip(sources, proposed, strict=True)):
      if one.writes:
        synthetic += judge(own.text_rows[i][own.is_valid[i]], scenes[image])
      elif one.replaces == 'text':
        filled = selected.is_filled[i, number]
        retrieved += judge(selected.text_rows[i, number][filled], scenes[image])
  return synthetic, retrieved


def shares(verdicts: Iterable[str]) -> dict[str, float] | None:
  """Returns the percentage of each of VERDICTS; None if there are none."""
  counts = collections.Counter(v.replace(' ', '_') for v in verdicts)
  total = sum(counts.values())
  if not total:
    return None
  return {name: 100 * counts[name] / total for name in VERDICTS}


@functools.lru_cache(maxsize=4)
def _program(task: engine.Task, device: jax.Device) -> Callable:
  own = setup.make_engine(task)
  parts = parts_of.of_settings(task.settings)

  def make(
    params: Any, start_params: Any, batch: arrays.MicroBatch
  ) -> tuple[_Proposed, mining.Selected]:
    batch_keys = keys.micro_batch_keys(
      task.settings.seed, jnp.int32(0), batch.number
    )
    table, proposed = candidates_of.propose(
      parts.sources,
      source.Inputs(
        own,
        params,
        start_params,
        batch,
        source.Keys(batch_keys.mask, batch_keys.refill, batch_keys.dropout),
      ),
    )
    selected = mining.hardest(own, params, table, proposed, parts.num_hard)
    # Only what the oracle needs of the candidates.
    return (
      table,
      tuple(
        dataclasses.replace(one, same_as=None, sentences=None)
        for one in proposed
      ),
    ), selected

  return parallel.pmap_function(make, [device])
