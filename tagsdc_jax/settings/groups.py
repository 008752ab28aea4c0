"""The groups of settings, each setting with default, range and meaning.

`tagsdc settings` and docs/settings.md show the meanings to users. The group
`negatives` is in settings/negatives.py.
"""

import dataclasses

from tagsdc_jax.settings.kinds import (
  MOST_ROWS,
  Choice,
  Flag,
  LocalPath,
  Named,
  Number,
  Several,
  Whole,
  setting,
)

PAIR_LOSSES = ('triplet', 'discrimination', 'correction')
ENGINES = ('packed', 'padded')
SOURCES = ('world', 'prepared', 'uniter_lmdb', 'auto')
WORLD_SIZES = ('default', 'tiny')
DTYPES = ('float32', 'bfloat16')
# Implementations of attention without dropout: this project's, or
# jax.nn.dot_product_attention by XLA or by cuDNN's fused kernel.
ATTENTION = ('plain', 'xla', 'cudnn')
# Precision of float32 matrix products. JAX's default is the last one, which
# keeps 11 bits of each factor on GPUs (TF32) and 8 on TPUs.
PRECISIONS = ('highest', 'high', 'default')

# Upper limits far beyond any run. Learning rates are computed in float32, which
# represents whole numbers exactly up to this one.
MAX_UPDATES = 2**24
_TOKENS = 2**28
_WEIGHT = Number(0, 1e6)  # Weight of a loss; 0 turns it off.
_FLAG, _PATH = Flag(), LocalPath()
_PATHS = Several(LocalPath(may_be_empty=False))


@dataclasses.dataclass(frozen=True)
class Data:
  """Where captions and region features come from."""

  source: str = setting(
    'world',
    Named(SOURCES),
    'Source of the data. world: the embedded world; prepared: the folder that '
    "tagsdc prepare wrote, data.root; uniter_lmdb: LMDB folders in UNITER's "
    'format; auto: prepared if data.root is such a folder, else uniter_lmdb.',
  )
  root: str = setting(
    '',
    _PATH,
    'Prepared data: its folder. LMDB folders: where the relative paths below '
    "start. For the world: where TFDS keeps its data; empty: TFDS's default "
    'folder.',
  )
  world_size: str = setting(
    'default',
    Choice(WORLD_SIZES),
    'Size of the embedded world; tiny is for tests.',
  )
  train_text: tuple[str, ...] = setting(
    (), _PATHS, 'UNITER text folders (LMDB) of the training split.'
  )
  train_images: tuple[str, ...] = setting(
    (),
    _PATHS,
    'Image folders of the training split: one per text folder, or one for all '
    'of them.',
  )
  validation_text: str = setting(
    '', _PATH, 'Text folder of the validation split.'
  )
  validation_images: str = setting(
    '', _PATH, 'Image folder of the validation split.'
  )
  test_text: str = setting('', _PATH, 'Text folder of the test split.')
  test_images: str = setting('', _PATH, 'Image folder of the test split.')
  vocabulary: str = setting(
    '',
    _PATH,
    'A vocab.txt or a Hugging Face Hub name. Empty: the vocabulary of prepared '
    'data; for LMDB folders token ids only, with the size from meta.json.',
  )
  max_caption_tokens: int | None = setting(
    60,
    Whole(1, MOST_ROWS, off='no limit'),
    'Training captions with more tokens are dropped, not truncated ([CLS] and '
    '[SEP] do not count). Evaluation keeps every caption.',
  )
  max_regions: int = setting(
    100,
    Whole(1, MOST_ROWS),
    'Maximum number of regions per image. An image keeps as many regions as '
    'have a confidence above region_confidence, but at least min_regions and '
    'at most max_regions. A folder with a fixed number of regions is not cut: '
    'that number must be at most max_regions. The regions of prepared data '
    'were chosen by tagsdc prepare.',
  )
  min_regions: int = setting(
    10,
    Whole(1, MOST_ROWS),
    'Minimum number of regions that an image keeps, if it has that many; see '
    'max_regions.',
  )
  region_confidence: float = setting(
    0.2,
    Number(-1, 1),
    'Detection confidence above which regions are kept; see max_regions. A '
    'negative value selects, of several image folders, the one with a fixed '
    'number of regions (feat_numbbN). Such a folder is also used if it is '
    'named or the only one.',
  )
  cache_regions: bool = setting(
    True, _FLAG, 'Keep decoded region features in host memory.'
  )
  num_threads: int = setting(
    2, Whole(1, 256), 'Host threads that assemble batches.'
  )
  num_prefetched: int = setting(
    2,
    Whole(0, 1000),
    'Updates, or slices of updates (see compute.micro_batches_at_once), to '
    'assemble ahead of the device.',
  )


@dataclasses.dataclass(frozen=True)
class Model:
  """Size of the network; the defaults are those of UNITER-base."""

  # Beyond 65,536 features or 1,024 heads, dropout bits would repeat.
  num_layers: int = setting(12, Whole(1, 1024), 'Layers of the encoder.')
  hidden_size: int = setting(
    768, Whole(1, 2**16), 'Features per token; must be divisible by num_heads.'
  )
  num_heads: int = setting(12, Whole(1, 1024), 'Attention heads per layer.')
  intermediate_size: int = setting(
    3072, Whole(1, 2**18), 'Hidden features of the feed-forward layers.'
  )
  max_positions: int = setting(
    512,
    Whole(3, 2**20),
    'Number of position embeddings: the longest caption in tokens, including '
    '[CLS] and [SEP].',
  )
  num_token_types: int = setting(
    2,
    Whole(2, 1024),
    'Token type embeddings; two are used, for text and image.',
  )
  vocab_size: int = setting(
    0, Whole(0, 2**24), 'Tokens of the vocabulary; 0 = taken from the data.'
  )
  feature_size: int = setting(
    0, Whole(0, 2**20), 'Features per region; 0 = taken from the data.'
  )
  dropout_rate: float = setting(
    0.1,
    Number(0, 0.99),
    'Dropout rate of embeddings, hidden states and attention; 0 = none.',
  )
  initializer_range: float = setting(
    0.02,
    Number(1e-6, 10),
    "Standard deviation of the normal distribution of new weights. BERT's "
    '0.02 suits hidden sizes near 768; a small network learns sooner with '
    'about 1 / sqrt(hidden_size).',
  )
  train_padding_row: bool = setting(
    False,
    _FLAG,
    'Train row 0 of the word embeddings, [PAD], like any other row. If false, '
    'as in the release, it is trained through the tied output layers only, '
    'even where a generated sentence contains [PAD] as a word.',
  )


@dataclasses.dataclass(frozen=True)
class Losses:
  """Losses and their weights; those that a phase does not use are ignored."""

  margin: float = setting(
    0.2,
    Number(0, 1),
    'Margin of the triplet losses, between probabilities: above 1, every '
    'triplet would violate it.',
  )
  synthetic: float = setting(
    5e-4,
    _WEIGHT,
    'Weight of losses on matching scores, such as triplet, for generated '
    'sentences; for retrieved negatives it is 1.',
  )
  weight_by_source: tuple[float, ...] = setting(
    (),
    Several(_WEIGHT),
    'Weight of losses on matching scores for each source, in the order of '
    'negatives.sources; empty: losses.synthetic for sources of generated '
    'sentences, 1 for the others.',
  )
  pairs: tuple[str, ...] = setting(
    (),
    Several(Named(PAIR_LOSSES)),
    'Losses of positives and their negatives; empty: triplet in stage 1; '
    'triplet, discrimination and correction in stage 2.',
  )
  mlm: float = setting(0.05, _WEIGHT, 'Weight of masked language modeling.')
  alignment: float = setting(
    0.0,
    _WEIGHT,
    'Pretraining: weight of alignment, a contrastive loss that makes the mean '
    "word embedding of a caption similar to its picture's mean region "
    'embedding, among those of the micro-batch; 0 = none, as in UNITER. From '
    'random weights, matching is learned much sooner with 1.',
  )
  discrimination: float = setting(
    5e-4,
    _WEIGHT,
    'Stage 2: weight of word discrimination (was this word replaced?).',
  )
  correction: float = setting(
    5e-4,
    _WEIGHT,
    'Stage 2: weight of word correction (what was the original word?).',
  )
  replaced_weight: float = setting(
    1.0, _WEIGHT, 'Class weight of replaced words in word discrimination.'
  )
  kept_weight: float = setting(
    0.11, _WEIGHT, 'Class weight of unchanged words in word discrimination.'
  )


@dataclasses.dataclass(frozen=True)
class Batch:
  """Size of an update: micro_batches x positives image-text pairs."""

  positives: int = setting(
    1,
    Whole(1, 2**16),
    'B, the number of positive pairs in a micro-batch, which share one pool of '
    'retrieved negatives; 1 in the release.',
  )
  micro_batches: int = setting(
    256,
    Whole(1, MOST_ROWS),
    'Micro-batches per update, on all devices; must be divisible by the '
    'number of devices.',
  )


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW with linear warm-up and decay to 0 at `num_updates`."""

  learning_rate: float = setting(
    5e-5, Number(1e-12, 1), 'Peak learning rate, reached after warm-up.'
  )
  warmup_updates: int = setting(
    500,
    Whole(0, MAX_UPDATES),
    'Updates of linear warm-up, fewer than num_updates; 0 = none.',
  )
  weight_decay: float = setting(
    0.01, Number(0, 1e3), 'Decoupled weight decay; 0 = none.'
  )
  # Closer to 1, float32 is too coarse for the bias correction.
  beta1: float = setting(
    0.9, Number(0, 0.9999), 'Decay rate of the mean of the gradients.'
  )
  beta2: float = setting(
    0.98, Number(0, 0.9999), 'Decay rate of the mean of the squared gradients.'
  )
  epsilon: float = setting(
    1e-6,
    Number(1e-12, 1),
    'Added to the square root of the mean squared gradient.',
  )
  clip_norm: float | None = setting(
    2.0,
    Number(1e-6, 1e6, off='no clipping'),
    'Global gradient norm above which gradients are scaled down.',
  )
  least_rate: float = setting(
    1e-8,
    Number(0, 1),
    'Learning rate of the last update, whose scheduled rate is 0; 1e-8 in the '
    'release.',
  )


@dataclasses.dataclass(frozen=True)
class Quirks:
  """What the PyTorch release does differently; see docs/quirks.md.

  All are off by default. Each changes results. Quirks of training need the
  release's own training step, which takes one positive per micro-batch and pads
  everything: it is for comparisons, not for speed.
  """

  plain_step: bool = setting(
    False,
    _FLAG,
    "Use the release's training step; the other quirks of training need it.",
  )
  first_word_positive: bool = setting(
    False,
    _FLAG,
    'In the triplet loss of generated sentences, the positive consists of its '
    'first word only, without image.',
  )
  last_text_offset: bool = setting(
    False,
    _FLAG,
    'In the triplet loss of retrieved texts, regions start after the length of '
    'the text drawn last, not after the padding.',
  )
  other_caption: bool = setting(
    False,
    _FLAG,
    'The triplet loss of retrieved texts uses a caption from a second, '
    'independent shuffle.',
  )
  penalties: bool = setting(
    False,
    _FLAG,
    'Repeated sentences and the caption are penalized by 2 and 3 (logits in '
    'stage 1, probabilities in stage 2) instead of excluded, and may still be '
    'selected.',
  )
  last_copy: bool = setting(
    False, _FLAG, 'Of equal candidates, the last one is used, not the first.'
  )
  fill_up: bool = setting(
    False,
    _FLAG,
    'Where fewer than h candidates are valid, excluded ones fill the remaining '
    'places, with full weight.',
  )
  equal_texts: bool = setting(
    False,
    _FLAG,
    "Retrieved captions that equal one of the image's captions count as "
    'negatives.',
  )
  clamped_words: bool = setting(
    False, _FLAG, "Stage 2's word losses are clamped at 23.03, -log(1e-10)."
  )
  # These do not need `plain_step`.
  reset_rank_head: bool = setting(
    False,
    _FLAG,
    "Stage 2 starts from pretraining's matching head, not from stage 1's.",
  )
  untrained_rank_head: bool = setting(
    False,
    _FLAG,
    '`tagsdc evaluate` ranks with the matching head that stage 1 started with.',
  )
  float16_scores: bool = setting(
    False,
    _FLAG,
    'Scores are rounded to float16 before ranking, which creates ties.',
  )
  overcounted_recall: bool = setting(
    False,
    _FLAG,
    "Image R@k counts the hits of the data's first k captions twice.",
  )


@dataclasses.dataclass(frozen=True)
class Compute:
  """Engine, precision, and how the work is divided."""

  engine: str = setting(
    'packed',
    Choice(ENGINES),
    'Engine that runs image-text pairs. packed: fast; padded: simple, and '
    'supports losses that couple pairs.',
  )
  dtype: str = setting(
    'float32',
    Choice(DTYPES),
    'Dtype of the activations; parameters and scores are always float32.',
  )
  matmul_precision: str = setting(
    'highest',
    Choice(PRECISIONS),
    'Precision of float32 matrix products. highest: float32 on every device; '
    'high: TF32 on GPUs, three bfloat16 passes on TPUs; default: TF32 on '
    'GPUs, one bfloat16 pass on TPUs. On CPUs, and in the last product of a '
    'score, it is always float32.',
  )
  target_chunk: int = setting(
    64,
    Whole(1, MOST_ROWS),
    'Masked positions per chunk when computing logits over the vocabulary.',
  )
  score_tokens: int = setting(
    8192,
    Whole(1, _TOKENS),
    'Tokens and regions per chunk in scoring, without gradient; a chunk '
    'contains at least one pair.',
  )
  gradient_tokens: int = setting(
    2048,
    Whole(1, _TOKENS),
    'Tokens and regions per chunk in passes with gradient; a chunk contains at '
    'least one pair.',
  )
  num_score_buckets: int = setting(
    12,
    Whole(1, 1024),
    'Number of length buckets that pairs are padded to in scoring.',
  )
  num_gradient_buckets: int = setting(
    8,
    Whole(1, 1024),
    'Number of length buckets that pairs are padded to in passes with '
    'gradient.',
  )
  attention: str = setting(
    'plain',
    Choice(ATTENTION),
    "Attention for scoring. plain: this project's; xla, cudnn: "
    'jax.nn.dot_product_attention by XLA or cuDNN. cudnn needs a GPU and '
    'compute.dtype=bfloat16.',
  )
  recompute_layers: bool = setting(
    False,
    _FLAG,
    'Store only the input of each layer for the backward pass and recompute '
    'the rest (rematerialization): less memory, one more forward pass.',
  )
  micro_batches_at_once: int = setting(
    0,
    Whole(0, MOST_ROWS),
    'Micro-batches whose inputs are sent to each device at once; 0 = all of '
    "the device's share of an update. Smaller values need less memory.",
  )


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Scoring of all pairs of captions and images."""

  tile_texts: int = setting(32, Whole(1, MOST_ROWS), 'Captions scored at once.')
  tile_images: int = setting(
    8, Whole(1, MOST_ROWS), 'Images scored at once on each device.'
  )
  num_buckets: int = setting(
    12,
    Whole(1, 1024),
    'Number of length buckets that tiles are padded to; each is one compiled '
    'program.',
  )
  validation_images: int = setting(
    1000,
    Whole(0, 2**31 - 1),
    'Number of images of the validation split to use for validation during '
    'training; 0 = all.',
  )
  test_after_training: bool = setting(
    True,
    _FLAG,
    'Whether the test split is evaluated when training has ended, and on '
    "`data.source=world` the world's oracle asked.",
  )
