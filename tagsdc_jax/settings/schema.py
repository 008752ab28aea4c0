"""Every setting with its default, its range and its meaning."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from tagsdc_jax.settings.kinds import (
  Choice,
  Flag,
  Kind,
  LocalPath,
  Named,
  Number,
  Several,
  Updates,
  Whole,
  setting,
)

PHASES = ('pretrain', 'tags', 'dc')  # In the order in which they follow.
# What a candidate must not be: the caption itself, any caption of its image, or
# made of words of the image's captions only.
EXCLUDED = ('caption', 'image', 'words')
# What is masked as one: a phrase of the scene graph, a word piece, or both.
UNITS = ('phrase', 'token', 'both')
# Sources of negatives and losses of pairs that are built in.
NEGATIVE_SOURCES = (
  'images',
  'texts',
  'mask_refill',
  'static_refill',
  'word_swap',
)
PAIR_LOSSES = ('triplet', 'discrimination', 'correction')
ENGINES = ('packed', 'padded')
SOURCES = ('world', 'uniter_lmdb')
WORLD_SIZES = ('default', 'tiny')
DTYPES = ('float32', 'bfloat16')
# Who computes attention where nothing is dropped: this project, or
# jax.nn.dot_product_attention, as XLA's operations or as cuDNN's one kernel.
ATTENTION = ('plain', 'xla', 'cudnn')
# How precise products of float32 numbers are. What JAX does unasked is the last
# one, which keeps 11 bits of each factor on GPUs (TF32) and 8 on TPUs.
PRECISIONS = ('highest', 'high', 'default')
PRESET_NAMES = ('corrected', 'as_released')  # See `presets`.

# Upper ends that no run comes near. Rates are computed in float32, which counts
# updates to here.
_UPDATES = 2**24
_ROWS = 2**20  # Of anything in a batch, a tile or a pool.
_TOKENS = 2**28
_WEIGHT = Number(0, 1e6)  # Of a part of the loss; 0 leaves it out.
_FLAG, _PATH = Flag(), LocalPath()
_PATHS = Several(LocalPath(may_be_empty=False))


@dataclasses.dataclass(frozen=True)
class Data:
  """Where captions and region features come from."""

  source: str = setting('world', Named(SOURCES), 'Kind of the data.')
  root: str = setting(
    '',
    _PATH,
    'Folder that the paths below are relative to. World: where '
    "TFDS keeps its data, empty for TFDS's own default folder.",
  )
  world_size: str = setting(
    'default', Choice(WORLD_SIZES), 'Of the embedded world; tiny is for tests.'
  )
  train_text: tuple[str, ...] = setting(
    (), _PATHS, "UNITER's text folders of the training split."
  )
  train_images: tuple[str, ...] = setting(
    (), _PATHS, 'Their image folders: one per text folder, or one for all.'
  )
  validation_text: str = setting('', _PATH, 'Text folder of the split.')
  validation_images: str = setting('', _PATH, 'Image folder of the split.')
  test_text: str = setting('', _PATH, 'Text folder of the split.')
  test_images: str = setting('', _PATH, 'Image folder of the split.')
  vocabulary: str = setting(
    '',
    _PATH,
    'vocab.txt or a hub name; empty: ids only, sizes taken from meta.json.',
  )
  max_caption_tokens: int | None = setting(
    60,
    Whole(1, _ROWS, off='no limit'),
    'Longer training captions are '
    'dropped, not cut ([CLS], [SEP] not counted). Evaluation keeps every '
    'caption.',
  )
  max_regions: int = setting(
    100,
    Whole(1, _ROWS),
    'Regions kept per image: min(max, max(min, number '
    'above the confidence)). A folder with a fixed number is not cut: it '
    'must be this at most.',
  )
  min_regions: int = setting(10, Whole(1, _ROWS), 'See max_regions.')
  region_confidence: float = setting(
    0.2,
    Number(-1, 1),
    'See max_regions. Negative: of several image folders '
    'one with a fixed number, feat_numbbN, which is also taken if it is '
    'named or the only one.',
  )
  cache_regions: bool = setting(
    True, _FLAG, 'Keep decoded region features in memory.'
  )
  num_threads: int = setting(
    2, Whole(1, 256), 'Threads that assemble batches ahead of the device.'
  )
  num_prefetched: int = setting(
    2, Whole(0, 1000), 'Updates, or slices of them, assembled ahead.'
  )


@dataclasses.dataclass(frozen=True)
class Model:
  """Size of the network; the defaults are UNITER-base's."""

  # Dropout draws the same bits again beyond 65,536 features and 1,024 heads.
  num_layers: int = setting(12, Whole(1, 1024), 'Of the encoder.')
  hidden_size: int = setting(768, Whole(1, 2**16), 'Numbers per token.')
  num_heads: int = setting(12, Whole(1, 1024), 'Divides hidden_size.')
  intermediate_size: int = setting(
    3072, Whole(1, 2**18), 'Of the feed-forward layers.'
  )
  max_positions: int = setting(
    512, Whole(3, 2**20), 'Longest caption, [CLS] and [SEP] counted.'
  )
  num_token_types: int = setting(2, Whole(2, 1024), 'Text, image.')
  vocab_size: int = setting(0, Whole(0, 2**24), '0 = as the data says.')
  feature_size: int = setting(
    0, Whole(0, 2**20), 'Numbers per region; 0 = as the data says.'
  )
  dropout_rate: float = setting(
    0.1, Number(0, 0.99), 'Embeddings, hidden states, attention; 0 = none.'
  )
  initializer_range: float = setting(
    0.02,
    Number(1e-6, 10),
    "Fresh weights are N(0, this). BERT's 0.02 "
    'suits hidden sizes near 768; a small network learns sooner with about '
    '1 / sqrt(hidden_size).',
  )
  train_padding_row: bool = setting(
    False,
    _FLAG,
    'False as in the release: row 0 of the word table, [PAD], '
    'learns through the tied decoders only, also where a refilled sentence '
    'holds it as a word.',
  )


@dataclasses.dataclass(frozen=True)
class Negatives:
  """Numbers of the two retrieved pools and of the refilled sentences."""

  sources: tuple[str, ...] = setting(
    ('images', 'texts', 'mask_refill'),
    Several(Named(NEGATIVE_SOURCES)),
    'Where negatives come from.',
  )
  pool_size: int = setting(
    399,
    Whole(0, _ROWS),
    'N random images and N random captions; pretraining has no pool.',
  )
  num_hard: int = setting(
    31, Whole(1, _ROWS), 'h, selected of the candidates of each source.'
  )
  num_hard_by_source: tuple[int, ...] = setting(
    (),
    Several(Whole(1, _ROWS)),
    'h of each source, in their order; empty: num_hard for all.',
  )
  num_copies: int = setting(20, Whole(1, 10_000), 'K maskings per caption.')
  num_samples: int = setting(20, Whole(1, 10_000), 'S refills per masking.')
  num_swaps: int = setting(
    16, Whole(1, 10_000), 'Sentences per caption that word_swap writes.'
  )
  unit: str = setting('phrase', Choice(UNITS), 'What is masked as one.')
  exclude: str = setting(
    'image',
    Choice(EXCLUDED),
    'What a negative must not be: the caption, '
    'any caption of its image, made of words of these only. Repetitions '
    'never count.',
  )
  mask_rate: float = setting(
    0.15, Number(0, 1), 'Of the tokens; one phrase is masked at least.'
  )
  temperature: float = setting(
    1.5, Number(1e-6, 1e6), 'Divides the MLM logits when refilling.'
  )
  num_in_batch: int = setting(
    4,
    Whole(0, _ROWS),
    'Pretraining: every caption meets this many other images of its batch.',
  )


@dataclasses.dataclass(frozen=True)
class Losses:
  """Weights of the parts; parts that a phase lacks are ignored."""

  margin: float = setting(
    0.2,
    Number(0, 1),
    'Of the triplet losses, whose scores are '
    'probabilities: beyond 1 it would be violated always.',
  )
  synthetic: float = setting(
    5e-4,
    _WEIGHT,
    'Losses of matching scores over sentences that a source wrote.',
  )
  weight_by_source: tuple[float, ...] = setting(
    (),
    Several(_WEIGHT),
    'Of losses of matching scores, for each source in '
    'their order; empty: 1 for retrieved negatives, `synthetic` for '
    'sentences.',
  )
  pairs: tuple[str, ...] = setting(
    (),
    Several(Named(PAIR_LOSSES)),
    'Losses of a positive and its '
    'negatives; empty: those of the phase, triplet in stage 1, and '
    'discrimination and correction in stage 2.',
  )
  mlm: float = setting(0.05, _WEIGHT, 'Masked words.')
  discrimination: float = setting(5e-4, _WEIGHT, 'Stage 2: replaced or not.')
  correction: float = setting(5e-4, _WEIGHT, 'Stage 2: which word it was.')
  replaced_weight: float = setting(
    1.0, _WEIGHT, 'Class weight of word discrimination.'
  )
  kept_weight: float = setting(
    0.11, _WEIGHT, 'Class weight of word discrimination.'
  )


@dataclasses.dataclass(frozen=True)
class Batch:
  """One update = micro_batches x positives; devices divide the former."""

  positives: int = setting(
    1, Whole(1, 2**16), "B; they share one pool. 1 is the reference's setting."
  )
  micro_batches: int = setting(
    256, Whole(1, _ROWS), 'G; divisible by the number of devices.'
  )


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW with linear warm-up and decay to 0 at `num_updates`."""

  learning_rate: float = setting(5e-5, Number(1e-12, 1), 'After the warm-up.')
  warmup_updates: int = setting(
    500, Whole(0, _UPDATES), 'Fewer than num_updates; 0 = none.'
  )
  weight_decay: float = setting(0.01, Number(0, 1e3), '0 = none.')
  # Nearer to 1, float32 is too coarse for the correction of their bias.
  beta1: float = setting(0.9, Number(0, 0.9999), 'Of the mean of gradients.')
  beta2: float = setting(
    0.98, Number(0, 0.9999), 'Of the mean of their squares.'
  )
  epsilon: float = setting(
    1e-6, Number(1e-12, 1), 'Added to the root of these.'
  )
  clip_norm: float | None = setting(
    2.0, Number(1e-6, 1e6, off='no clipping'), 'Longest gradient.'
  )
  least_rate: float = setting(
    1e-8, Number(0, 1), 'What a rate of 0 becomes; as in the release.'
  )


@dataclasses.dataclass(frozen=True)
class Quirks:
  """What the PyTorch release does otherwise; see docs/release.md, "Presets".

  Each moves a number. The first group lives in a step of its own, which takes
  one positive at a time and pads everything; it is for comparisons, not fast.
  """

  plain_step: bool = setting(
    False, _FLAG, 'Use that step; the others of the group need it.'
  )
  first_word_positive: bool = setting(
    False,
    _FLAG,
    "The positive of the generated negatives' loss sees its first word only.",
  )
  last_text_offset: bool = setting(
    False,
    _FLAG,
    "Regions of the retrieved texts' loss start behind the "
    "length of the text drawn last, not behind the row's padding.",
  )
  other_caption: bool = setting(
    False,
    _FLAG,
    "The retrieved texts' loss is taken at a caption of a second shuffle.",
  )
  penalties: bool = setting(
    False,
    _FLAG,
    'Repetitions and the caption are pushed down by 2 and 3, '
    'from raw logits in stage 1 and from probabilities in stage 2, and may '
    'still be chosen.',
  )
  last_copy: bool = setting(
    False, _FLAG, 'Of equal candidates the last counts, not the first.'
  )
  fill_up: bool = setting(
    False,
    _FLAG,
    'Where fewer than h candidates are left, the rest of the h '
    'fill up with what was left out, at full weight.',
  )
  equal_texts: bool = setting(
    False,
    _FLAG,
    'A retrieved caption that is, word for word, one of the '
    "image's own counts as a negative.",
  )
  clamped_words: bool = setting(
    False, _FLAG, 'Word losses of stage 2 are capped at 23.03.'
  )
  # The second group works in any step, and in evaluation.
  reset_rank_head: bool = setting(
    False, _FLAG, "Stage 2 forgets stage 1's matching head."
  )
  untrained_rank_head: bool = setting(
    False,
    _FLAG,
    '`tagsdc evaluate` ranks with the head that stage 1 began with.',
  )
  float16_scores: bool = setting(
    False, _FLAG, 'Scores are rounded before they are ranked: ties.'
  )
  overcounted_recall: bool = setting(
    False,
    _FLAG,
    'Image retrieval counts hits of the first k captions once more.',
  )


@dataclasses.dataclass(frozen=True)
class Compute:
  """Precision, and how the work is cut (the cuts never change a result)."""

  engine: str = setting(
    'packed',
    Choice(ENGINES),
    'What runs pairs: packed is fast; padded is '
    'plain, and takes losses that couple pairs.',
  )
  dtype: str = setting(
    'float32', Choice(DTYPES), 'Parameters and scores stay float32.'
  )
  matmul_precision: str = setting(
    'highest',
    Choice(PRECISIONS),
    'Of products of float32 numbers. '
    'highest: float32 on every device; high: TF32 on GPUs, three bfloat16 '
    'passes on TPUs; default: TF32 on GPUs, one bfloat16 pass on TPUs. CPUs '
    'always compute in float32; so does the last product of a score.',
  )
  target_chunk: int = setting(
    64, Whole(1, _ROWS), 'Masked positions per vocabulary-wide product.'
  )
  score_tokens: int = setting(
    8192,
    Whole(1, _TOKENS),
    'Words and regions scored at once, without gradient; one pair at least.',
  )
  gradient_tokens: int = setting(
    2048,
    Whole(1, _TOKENS),
    'Words and regions run at once with gradient; one pair at least.',
  )
  num_score_buckets: int = setting(
    12, Whole(1, 1024), 'Lengths that scored pairs are padded to.'
  )
  num_gradient_buckets: int = setting(
    8, Whole(1, 1024), 'Lengths that pairs with gradient are padded to.'
  )
  attention: str = setting(
    'plain',
    Choice(ATTENTION),
    'Who computes it when scoring: we, XLA, or '
    'cuDNN, which needs a GPU and bfloat16.',
  )
  recompute_layers: bool = setting(
    False,
    _FLAG,
    'Backward passes keep the input of each layer only and '
    'compute the rest again: less memory, a forward pass more.',
  )
  micro_batches_at_once: int = setting(
    0,
    Whole(0, _ROWS),
    'Micro-batches whose inputs each device gets at '
    'once; 0 = all of its share of an update. Fewer take less memory.',
  )


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Scoring of all pairs."""

  tile_texts: int = setting(32, Whole(1, _ROWS), 'Captions scored at once.')
  tile_images: int = setting(8, Whole(1, _ROWS), 'Images scored at once.')
  num_buckets: int = setting(
    12, Whole(1, 1024), 'Lengths that tiles are padded to, a program each.'
  )
  validation_images: int = setting(
    1000, Whole(0, 2**31 - 1), 'Subset used during training; 0 = all.'
  )


@dataclasses.dataclass(frozen=True)
class Settings:
  """Everything that determines a run."""

  phase: str = setting('tags', Choice(PHASES), 'What is trained.')
  preset: str = setting(
    'corrected',
    Choice(PRESET_NAMES),
    'Name of the dictionary of PRESETS that was applied, see `apply_preset`.',
  )
  # JAX without 64-bit numbers reads 32 bits of a seed: others would be alike.
  seed: int = setting(0, Whole(0, 2**32 - 1), 'Of every random draw.')
  extensions: str = setting(
    '',
    _PATH,
    'Folder of the files that names like module:function stand '
    'for; empty: that of the config file.',
  )
  init_from: str = setting(
    '', _PATH, 'Run folder, checkpoint, or shipped:NAME; empty: fresh.'
  )
  num_updates: int = setting(
    5000, Whole(1, _UPDATES), 'Length of the schedule.'
  )
  stop_at_update: int = setting(
    0, Whole(0, _UPDATES), 'Leave earlier, to be continued; 0 = do not.'
  )
  checkpoint_every: int = setting(
    500, Whole(1, _UPDATES), 'Updates between checkpoints.'
  )
  eval_every: int = setting(
    500, Whole(0, _UPDATES), 'Updates between validations; 0 = only at the end.'
  )
  keep_at_updates: tuple[int, ...] = setting(
    (), Several(Whole(1, _UPDATES)), 'Checkpoints never deleted.'
  )
  log_every: int = setting(
    10, Whole(1, _UPDATES), 'Updates between lines of metrics.'
  )
  num_devices: int = setting(
    0, Whole(0, 2**16), 'Devices of each process to use; 0 = all.'
  )
  profile: str = setting(
    '', Updates(), 'Updates to trace, e.g. 10-12; empty: none.'
  )
  stop_seconds: float = setting(
    25.0,
    Number(0, 1e6),
    'From SIGTERM to leaving at the latest, saved or '
    'not. Schedulers kill soon after their notice.',
  )
  hang_seconds: float = setting(
    30.0,
    Number(0, 1e6),
    'That a piece of its own work (data, a save, a '
    'tile of a validation) may take one of several processes before it is '
    'taken to hang and ends, so that the others do; 0 = for ever. More is '
    'given where more is to be expected, see docs/clusters.md.',
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
  """What is known of a setting; its name is `learning_rate`, for instance."""

  field: dataclasses.Field
  kind: Kind
  default: Any
  meaning: str


def walk(
  part: Any = Settings, group: str = ''
) -> Iterator[tuple[str, Setting]]:
  """Yields (dotted name, what is known of it) for every setting."""
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

# What a continued run may change: none of it touches the parameters.
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
