"""The schema: all settings of a run, each with kind, default and meaning."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from tagsdc_jax.settings.groups import (
  MAX_UPDATES,
  Batch,
  Compute,
  Data,
  Evaluation,
  Losses,
  Model,
  Optimizer,
  Quirks,
)
from tagsdc_jax.settings.kinds import (
  Choice,
  Kind,
  LocalPath,
  Number,
  Several,
  Updates,
  Whole,
  setting,
)
from tagsdc_jax.settings.negatives import Negatives

PHASES = ('pretrain', 'tags', 'dc')  # In the order of training.
# Values of init_from that are not paths.
FRESH, REQUIRED = 'fresh', 'required'
PRESET_NAMES = ('corrected', 'as_released')  # See `presets`.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Everything that determines a run."""

  phase: str = setting(
    'tags',
    Choice(PHASES),
    'Phase to train. pretrain: pretraining; tags: stage 1; dc: stage 2.',
  )
  preset: str = setting(
    'corrected',
    Choice(PRESET_NAMES),
    'Preset to apply. as_released: all quirks and other choices of the '
    'PyTorch release; corrected: none of them. A config file calls '
    'settings.apply_preset(config, NAME).',
  )
  # Without 64-bit mode, JAX uses only the lower 32 bits of a seed.
  seed: int = setting(0, Whole(0, 2**32 - 1), 'Seed of all random draws.')
  extensions: str = setting(
    '',
    LocalPath(),
    'Folder of your files, where module:function is looked up; empty: the '
    'folder of the config file.',
  )
  init_from: str = setting(
    '',
    LocalPath(),
    'Initial weights: a run folder, a checkpoint, or shipped:NAME; fresh or '
    'empty: random weights; required: the run does not start until another '
    'value is given.',
  )
  num_updates: int = setting(
    5000,
    Whole(1, MAX_UPDATES),
    'Updates of the whole run, and the length of the learning-rate schedule.',
  )
  stop_at_update: int = setting(
    0,
    Whole(0, MAX_UPDATES),
    'Stop after this update, to continue later; 0 = run to the end.',
  )
  checkpoint_every: int = setting(
    500, Whole(1, MAX_UPDATES), 'Updates between checkpoints.'
  )
  eval_every: int = setting(
    500,
    Whole(0, MAX_UPDATES),
    'Updates between validations; 0 = at the end only.',
  )
  keep_at_updates: tuple[int, ...] = setting(
    (),
    Several(Whole(1, MAX_UPDATES)),
    'Updates whose checkpoints are kept forever.',
  )
  log_every: int = setting(
    10, Whole(1, MAX_UPDATES), 'Updates between lines in metrics.jsonl.'
  )
  num_devices: int = setting(
    0, Whole(0, 2**16), 'Devices to use in each process; 0 = all.'
  )
  profile: str = setting(
    '',
    Updates(),
    'Updates to trace with the JAX profiler, such as 10-12; empty: none.',
  )
  stop_seconds: float = setting(
    25.0,
    Number(0, 1e6),
    'Seconds after SIGTERM within which the run exits, saved or not; '
    'schedulers send SIGKILL soon after.',
  )
  hang_seconds: float = setting(
    30.0,
    Number(0, 1e6),
    'With several processes: seconds that a process may spend on a local step '
    '(loading data, saving, a tile of a validation) before it is considered '
    'hung and exits, so that the others exit too; 0 = no limit. Steps known to '
    'be slow get more; see docs/clusters.md.',
  )
  data: Data = Data()
  model: Model = Model()
  negatives: Negatives = Negatives()
  losses: Losses = Losses()
  batch: Batch = Batch()
  optimizer: Optimizer = Optimizer()
  compute: Compute = Compute()
  evaluation: Evaluation = Evaluation()
  quirks: Quirks = Quirks()


class Setting(NamedTuple):
  """The schema of one setting."""

  field: dataclasses.Field
  kind: Kind
  default: Any
  meaning: str


def walk(
  part: Any = Settings, group: str = ''
) -> Iterator[tuple[str, Setting]]:
  """Yields (dotted name, schema) for every setting."""
  for field in dataclasses.fields(part):
    if dataclasses.is_dataclass(field.type):
      yield from walk(field.type, f'{field.name}.')
    else:
      yield (
        f'{group}{field.name}',
        Setting(
          field,
          field.metadata['kind'],
          field.default,
          field.metadata['meaning'],
        ),
      )


ALL: dict[str, Setting] = dict(walk())

# What a resumed run may change: nothing that affects the parameters.
FREE_TO_CHANGE = (
  'extensions',
  'stop_at_update',
  'checkpoint_every',
  'eval_every',
  'keep_at_updates',
  'log_every',
  'num_devices',
  'profile',
  'stop_seconds',
  'hang_seconds',
  'data.num_threads',
  'data.num_prefetched',
  'data.cache_regions',
  'compute.micro_batches_at_once',
  'evaluation.tile_texts',
  'evaluation.tile_images',
  'evaluation.num_buckets',
)
