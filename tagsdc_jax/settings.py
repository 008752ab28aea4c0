"""Every setting with its default, and its frozen form.

Config files build a `ConfigDict` with `default_config()` and change only what
differs; `from_config` freezes it into the dataclasses that the code takes.
Nothing here imports jax, so that a config file loads at once.
"""

import dataclasses
import typing
from typing import Any

import ml_collections

PHASES = ('pretrain', 'tags', 'dc')  # In the order in which they follow.
SOURCES = ('world', 'uniter_lmdb')
KINDS = {int: 'a whole number', float: 'a number', bool: 'true or false',
         str: 'text'}


@dataclasses.dataclass(frozen=True)
class Data:
  """Where captions and region features come from."""
  source: str = 'world'  # One of SOURCES.
  # Folder that the paths below are relative to. World: where TFDS keeps its
  # data ('' = TFDS's own default folder).
  root: str = ''
  world_size: str = 'default'  # 'default', or 'tiny' for tests.
  # UNITER's LMDB folders: text folders of each split and the image store.
  train_text: tuple[str, ...] = ()
  train_images: tuple[str, ...] = ()  # One per text folder, or one for all.
  validation_text: str = ''
  validation_images: str = ''
  test_text: str = ''
  test_images: str = ''
  # vocab.txt or a hub name; '' = ids only, sizes taken from meta.json.
  vocabulary: str = ''
  # Longer training captions are dropped, not cut ([CLS], [SEP] not counted).
  # Evaluation keeps every caption.
  max_caption_tokens: int = 60
  # Regions kept per image: min(max, max(min, number above the confidence)).
  max_regions: int = 100
  min_regions: int = 10
  region_confidence: float = 0.2
  cache_regions: bool = True  # Keep decoded region features in memory.
  num_threads: int = 2  # Threads that assemble batches ahead of the device.
  num_prefetched: int = 2  # Updates that are assembled ahead.


@dataclasses.dataclass(frozen=True)
class Model:
  """Size of the network; the defaults are UNITER-base's."""
  num_layers: int = 12
  hidden_size: int = 768
  num_heads: int = 12
  intermediate_size: int = 3072
  max_positions: int = 512
  num_token_types: int = 2
  vocab_size: int = 0  # 0 = as the data says.
  feature_size: int = 0  # Numbers per region; 0 = as the data says.
  dropout_rate: float = 0.1  # Embeddings, hidden states, attention.
  # Fresh weights are N(0, this). BERT's 0.02 suits hidden sizes near 768;
  # a small network learns sooner with about 1 / sqrt(hidden_size).
  initializer_range: float = 0.02


@dataclasses.dataclass(frozen=True)
class Negatives:
  """Numbers of the two retrieved pools and of the refilled sentences."""
  pool_size: int = 399  # N random images and N random captions.
  num_hard: int = 31  # h, kept of each of the three candidate sets.
  num_copies: int = 20  # K maskings per caption.
  num_samples: int = 20  # S refills per masking.
  mask_rate: float = 0.15
  temperature: float = 1.5  # Divides the MLM logits when refilling; > 0.
  # Pretraining: every caption meets this many other images of its batch.
  num_in_batch: int = 4


@dataclasses.dataclass(frozen=True)
class Losses:
  """Weights of the parts; parts that a phase lacks are ignored."""
  margin: float = 0.2
  synthetic: float = 5e-4  # The triplet loss over refilled sentences.
  mlm: float = 0.05
  discrimination: float = 5e-4
  correction: float = 5e-4
  replaced_weight: float = 1.0  # Class weights of word discrimination.
  kept_weight: float = 0.11


@dataclasses.dataclass(frozen=True)
class Batch:
  """One update = micro_batches x positives; devices divide the former."""
  positives: int = 1  # B; they share one pool. 1 is the reference's setting.
  micro_batches: int = 256  # G; divisible by the number of devices.


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW with linear warm-up and decay to 0 at `num_updates`."""
  learning_rate: float = 5e-5
  warmup_updates: int = 500
  weight_decay: float = 0.01
  beta1: float = 0.9
  beta2: float = 0.98
  epsilon: float = 1e-6
  clip_norm: float = 2.0


@dataclasses.dataclass(frozen=True)
class Compute:
  """Precision, and how the work is cut (the cuts never change a result)."""
  dtype: str = 'float32'  # or 'bfloat16'; parameters and scores stay float32.
  target_chunk: int = 64  # Masked positions per vocabulary-wide product.
  score_rows: int = 128  # Pairs scored at once without gradient.
  num_widths: int = 6  # Length classes of the scorer, one program each.


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Scoring of all pairs."""
  tile_texts: int = 32
  tile_images: int = 16
  validation_images: int = 1000  # Subset used during training; 0 = all.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Everything that determines a run."""
  phase: str = 'tags'  # One of PHASES.
  seed: int = 0
  # Run folder, checkpoint, or 'shipped:NAME' (see shipped/); '' = fresh.
  init_from: str = ''
  num_updates: int = 5000  # Length of the schedule.
  stop_at_update: int = 0  # Leave earlier, to be continued; 0 = do not.
  checkpoint_every: int = 500
  eval_every: int = 500  # Updates between validations; 0 = only at the end.
  keep_at_updates: tuple[int, ...] = ()  # Checkpoints never deleted.
  log_every: int = 10
  num_devices: int = 0  # Devices of this process to use; 0 = all.
  data: Data = Data()
  model: Model = Model()
  negatives: Negatives = Negatives()
  losses: Losses = Losses()
  batch: Batch = Batch()
  optimizer: Optimizer = Optimizer()
  compute: Compute = Compute()
  evaluation: Evaluation = Evaluation()


# What a continued run may change: none of it touches the parameters.
FREE_TO_CHANGE = (
    'stop_at_update', 'checkpoint_every', 'eval_every', 'keep_at_updates',
    'log_every', 'num_devices', 'data.num_threads', 'data.num_prefetched',
    'data.cache_regions', 'evaluation.tile_texts', 'evaluation.tile_images')


def default_config() -> ml_collections.ConfigDict:
  """Returns the defaults as a `ConfigDict` that takes no other keys."""
  return ml_collections.ConfigDict(dataclasses.asdict(Settings())).lock()


def from_config(config: ml_collections.ConfigDict) -> Settings:
  """Returns the frozen settings.

  Raises:
    ValueError: if a value makes no sense; names key, expectation, value.
  """
  parts = {}
  for field in dataclasses.fields(Settings):
    value = config[field.name]
    if isinstance(value, ml_collections.ConfigDict):
      part: Any = type(field.default)
      parts[field.name] = part(**{k: _plain(v) for k, v in value.items()})
    else:
      parts[field.name] = _plain(value)
  result = Settings(**parts)
  _check_kinds(result)
  _check(result)
  return result


def flatten(settings: Settings) -> dict[str, object]:
  """Returns {dotted key: value}, lists instead of tuples, as JSON has it."""
  flat: dict[str, object] = {}
  for name, value in dataclasses.asdict(settings).items():
    parts = value.items() if isinstance(value, dict) else [('', value)]
    for key, leaf in parts:
      flat[f'{name}.{key}' if key else name] = (
          list(leaf) if isinstance(leaf, tuple) else leaf)
  return flat


def from_flat(flat: dict[str, object]) -> Settings:
  """Returns the settings that `flatten` was made of.

  Raises:
    ValueError: if a key is unknown or a value makes no sense.
  """
  unknown = flat.keys() - flatten(Settings()).keys()
  if unknown:
    raise ValueError(f'{min(unknown)} is no setting')
  config = default_config()
  config.update_from_flattened_dict({
      key: tuple(value) if isinstance(value, list) else value
      for key, value in flat.items()})
  return from_config(config)


def _plain(value: object) -> object:
  return tuple(value) if isinstance(value, (list, tuple)) else value


def _check_kinds(part: Any, group: str = '') -> None:
  """Raises ValueError for the first value of another kind than declared."""
  for field in dataclasses.fields(part):
    value, kind = getattr(part, field.name), field.type
    if dataclasses.is_dataclass(kind):
      _check_kinds(value, f'{field.name}.')
      continue
    is_several = typing.get_origin(kind) is tuple
    one: Any = typing.get_args(kind)[0] if is_several else kind
    fitting = (int, float) if one is float else one
    for x in value if is_several and isinstance(value, tuple) else (value,):
      if not isinstance(x, fitting) or (isinstance(x, bool)
                                        and one is not bool):
        raise ValueError(f'{group}{field.name} must be {KINDS[one]}'
                         f'{", or several" if is_several else ""}, got {x!r}')


def _check(s: Settings) -> None:
  """Raises ValueError for the first setting out of its range."""
  at_least = {
      'num_updates': (s.num_updates, 1),
      'checkpoint_every': (s.checkpoint_every, 1),
      'log_every': (s.log_every, 1),
      'batch.positives': (s.batch.positives, 1),
      'batch.micro_batches': (s.batch.micro_batches, 1),
      'negatives.num_copies': (s.negatives.num_copies, 1),
      'negatives.num_samples': (s.negatives.num_samples, 1),
      'negatives.num_hard': (s.negatives.num_hard, 1),
      'compute.target_chunk': (s.compute.target_chunk, 1),
      'compute.score_rows': (s.compute.score_rows, 1),
      'compute.num_widths': (s.compute.num_widths, 1),
      'model.num_layers': (s.model.num_layers, 1),
      'evaluation.tile_texts': (s.evaluation.tile_texts, 1),
      'evaluation.tile_images': (s.evaluation.tile_images, 1),
      'data.num_threads': (s.data.num_threads, 1),
  }
  at_least |= {name: (value, 0) for name, value in {
      'num_devices': s.num_devices, 'stop_at_update': s.stop_at_update,
      'eval_every': s.eval_every, 'negatives.num_in_batch':
      s.negatives.num_in_batch, 'data.num_prefetched': s.data.num_prefetched,
      'evaluation.validation_images': s.evaluation.validation_images}.items()}
  for name, (value, least) in at_least.items():
    if value < least:
      raise ValueError(f'{name} must be at least {least}, got {value}')
  choices = {'phase': (s.phase, PHASES), 'data.source': (s.data.source,
                                                         SOURCES),
             'compute.dtype': (s.compute.dtype, ('float32', 'bfloat16'))}
  for name, (word, allowed) in choices.items():
    if word not in allowed:
      raise ValueError(f'{name} must be one of {", ".join(allowed)}, '
                       f'got {word!r}')
  if s.model.hidden_size % s.model.num_heads:
    raise ValueError('model.hidden_size must be divisible by model.num_heads '
                     f'= {s.model.num_heads}, got {s.model.hidden_size}')
  for name, share in (('negatives.mask_rate', s.negatives.mask_rate),
                      ('model.dropout_rate', s.model.dropout_rate)):
    if not 0 <= share < 1:
      raise ValueError(f'{name} must be at least 0 and below 1, got {share}')
  if not s.negatives.temperature > 0:
    raise ValueError('negatives.temperature must be positive, '
                     f'got {s.negatives.temperature}')
  if not 0 < s.optimizer.warmup_updates < s.num_updates:
    raise ValueError('optimizer.warmup_updates must lie between 1 and '
                     f'num_updates - 1 = {s.num_updates - 1}, '
                     f'got {s.optimizer.warmup_updates}')
  n = s.negatives
  if s.phase == 'pretrain':
    if not n.num_in_batch < s.batch.positives:
      raise ValueError('negatives.num_in_batch must be below '
                       f'batch.positives = {s.batch.positives}, '
                       f'got {n.num_in_batch}')
  else:
    if n.pool_size < n.num_hard:
      raise ValueError('negatives.pool_size must be at least '
                       f'negatives.num_hard = {n.num_hard}, got {n.pool_size}')
    if n.num_copies * n.num_samples < n.num_hard:
      raise ValueError('negatives.num_copies x num_samples must be at least '
                       f'negatives.num_hard = {n.num_hard}, got '
                       f'{n.num_copies * n.num_samples}')
