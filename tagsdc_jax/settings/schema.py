"""Every setting with its default and its meaning."""

import dataclasses

PHASES = ('pretrain', 'tags', 'dc')  # In the order in which they follow.
# What a candidate must not be: the caption itself, any caption of its image, or
# made of words of the image's captions only.
EXCLUDED = ('caption', 'image', 'words')
SOURCES = ('world', 'uniter_lmdb')
DTYPES = ('float32', 'bfloat16')
# Who computes attention where nothing is dropped: this project, or
# jax.nn.dot_product_attention, as XLA's operations or as cuDNN's one kernel.
ATTENTION = ('plain', 'xla', 'cudnn')


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
  # Regions kept per image: min(max, max(min, number above the confidence)). A
  # confidence below 0 chooses, of several image folders, one with a fixed
  # number, feat_numbbN, which is also taken if it is named or the only one.
  max_regions: int = 100
  min_regions: int = 10
  region_confidence: float = 0.2
  cache_regions: bool = True  # Keep decoded region features in memory.
  num_threads: int = 2  # Threads that assemble batches ahead of the device.
  num_prefetched: int = 2  # Updates, or slices of them, assembled ahead.


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
  # False as in the release: row 0 of the word table, [PAD], learns through the
  # tied decoders only, also where a refilled sentence holds it as a word.
  train_padding_row: bool = False


@dataclasses.dataclass(frozen=True)
class Negatives:
  """Numbers of the two retrieved pools and of the refilled sentences."""
  pool_size: int = 399  # N random images and N random captions.
  num_hard: int = 31  # h, kept of each of the three candidate sets.
  num_copies: int = 20  # K maskings per caption.
  num_samples: int = 20  # S refills per masking.
  exclude: str = 'image'  # One of EXCLUDED; repetitions never count.
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
  least_rate: float = 1e-8  # What a rate of 0 becomes; as in the release.


@dataclasses.dataclass(frozen=True)
class Quirks:
  """What the PyTorch release does otherwise; README, "Against the reference".

  Each moves a number. The first group lives in a step of its own, which takes
  one positive at a time and pads everything; it is for comparisons, not fast.
  """
  plain_step: bool = False  # Use that step; the others of the group need it.
  # The positive of the generated negatives' loss sees its first word only.
  first_word_positive: bool = False
  # Regions of the retrieved texts' loss start behind the length of the text
  # drawn last, not behind the row's padding.
  last_text_offset: bool = False
  # The retrieved texts' loss is taken at a caption of a second shuffle.
  other_caption: bool = False
  # Repetitions and the caption are pushed down by 2 and 3, from raw logits in
  # stage 1 and from probabilities in stage 2, and may still be chosen.
  penalties: bool = False
  last_copy: bool = False  # Of equal candidates the last counts, not the first.
  # Where fewer than h candidates are left, the rest of the h fill up with what
  # was left out, at full weight.
  fill_up: bool = False
  # A retrieved caption that is, word for word, one of the image's own counts as
  # a negative.
  equal_texts: bool = False
  clamped_words: bool = False  # Word losses of stage 2 are capped at 23.03.
  # The second group works in any step, and in evaluation.
  reset_rank_head: bool = False  # Stage 2 forgets stage 1's matching head.
  # `tagsdc evaluate` ranks with the head that stage 1 began with.
  untrained_rank_head: bool = False
  float16_scores: bool = False  # Rounded before they are ranked: ties.
  # Image retrieval counts hits of the first k captions once more.
  overcounted_recall: bool = False


@dataclasses.dataclass(frozen=True)
class Compute:
  """Precision, and how the work is cut (the cuts never change a result)."""
  dtype: str = 'float32'  # One of DTYPES; parameters and scores stay float32.
  target_chunk: int = 64  # Masked positions per vocabulary-wide product.
  score_tokens: int = 8192  # Words and regions scored at once, no gradient.
  gradient_tokens: int = 2048  # Words and regions run at once with gradient.
  num_widths: int = 12  # Lengths that scored pairs are padded to.
  num_gradient_widths: int = 8  # That pairs with gradient are padded to.
  # One of ATTENTION, when scoring; cuDNN needs a GPU and bfloat16.
  attention: str = 'plain'
  # Backward passes keep the input of each layer only and compute the rest
  # anew: less memory, a forward pass more.
  recompute_layers: bool = False
  # Micro-batches whose inputs each device gets at once; 0 = all of its share
  # of an update. Fewer take less memory.
  micro_batches_at_once: int = 0


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Scoring of all pairs."""
  tile_texts: int = 32
  tile_images: int = 8
  num_widths: int = 12  # Lengths that tiles are padded to, a program each.
  validation_images: int = 1000  # Subset used during training; 0 = all.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Everything that determines a run."""
  phase: str = 'tags'  # One of PHASES.
  # Name of the dictionary of PRESETS that was applied, see `apply_preset`.
  preset: str = 'corrected'
  seed: int = 0
  # Run folder, checkpoint, or 'shipped:NAME' (see shipped/); '' = fresh.
  init_from: str = ''
  num_updates: int = 5000  # Length of the schedule.
  stop_at_update: int = 0  # Leave earlier, to be continued; 0 = do not.
  checkpoint_every: int = 500
  eval_every: int = 500  # Updates between validations; 0 = only at the end.
  keep_at_updates: tuple[int, ...] = ()  # Checkpoints never deleted.
  log_every: int = 10
  num_devices: int = 0  # Devices of each process to use; 0 = all.
  profile: str = ''  # Updates to trace, e.g. '10-12'; '' = none.
  # Seconds from SIGTERM to leaving at the latest, saved or not. Schedulers kill
  # soon after their notice.
  stop_seconds: float = 25.0
  # Seconds that a piece of its own work (data, a save, a tile of a validation)
  # may take one of several processes before it is taken to hang and ends, so
  # that the others do; 0 = for ever. More is given where more is to be
  # expected, see README.md, "On a pod".
  hang_seconds: float = 30.0
  data: Data = Data()
  model: Model = Model()
  negatives: Negatives = Negatives()
  losses: Losses = Losses()
  batch: Batch = Batch()
  optimizer: Optimizer = Optimizer()
  compute: Compute = Compute()
  evaluation: Evaluation = Evaluation()
  quirks: Quirks = Quirks()


# What a continued run may change: none of it touches the parameters.
FREE_TO_CHANGE = (
    'stop_at_update', 'checkpoint_every', 'eval_every', 'keep_at_updates',
    'log_every', 'num_devices', 'profile', 'stop_seconds', 'hang_seconds',
    'data.num_threads', 'data.num_prefetched', 'data.cache_regions',
    'compute.micro_batches_at_once',
    'evaluation.tile_texts', 'evaluation.tile_images', 'evaluation.num_widths')
