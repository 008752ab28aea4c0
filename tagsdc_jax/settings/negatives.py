"""The group of settings `negatives`; see settings/groups.py."""

import dataclasses

from tagsdc_jax.settings.kinds import (
  MOST_ROWS,
  Choice,
  Flag,
  Named,
  Number,
  Several,
  Whole,
  setting,
)

# Sentences excluded from the negatives: the caption itself, all captions of its
# image, or all sentences made only of words of those captions.
EXCLUDED = ('caption', 'image', 'words')
# Kinds of phrases in the scene graph, in the order of data/phrases.py.
PHRASE_KINDS = ('object', 'attribute', 'relation')
# Masked as a whole: phrases of the scene graph, word pieces, both, or the
# phrases of one kind only.
UNITS = ('phrase', 'token', 'both', *PHRASE_KINDS)
# Built-in sources of negatives and pair losses.
NEGATIVE_SOURCES = (
  'images',
  'texts',
  'mask_refill',
  'static_refill',
  'word_swap',
)


@dataclasses.dataclass(frozen=True)
class Negatives:
  """Sources of negatives, and how many are generated and selected."""

  sources: tuple[str, ...] = setting(
    ('images', 'texts', 'mask_refill'),
    Several(Named(NEGATIVE_SOURCES)),
    'Sources of negatives: retrieved (images, texts) or generated sentences '
    '(mask_refill, static_refill, word_swap).',
  )
  pool_size: int = setting(
    399,
    Whole(0, MOST_ROWS),
    'N, the size of each retrieved pool: random images, and random captions. '
    'Pretraining has no pool.',
  )
  num_hard: int = setting(
    31,
    Whole(1, MOST_ROWS),
    'h, the number of hard negatives selected from the candidates of each '
    'source.',
  )
  num_hard_by_source: tuple[int, ...] = setting(
    (),
    Several(Whole(1, MOST_ROWS)),
    'h of each source, in the order of sources; empty: num_hard for all.',
  )
  num_copies: int = setting(
    20, Whole(1, 10_000), 'K, the number of masked copies of each caption.'
  )
  num_samples: int = setting(
    20, Whole(1, 10_000), 'S, the number of refills of each masked copy.'
  )
  num_swaps: int = setting(
    16,
    Whole(1, 10_000),
    'Maximum number of sentences that word_swap generates per caption.',
  )
  unit: str = setting(
    'phrase',
    Choice(UNITS),
    'What is masked as a whole. phrase: phrases of the scene graph; token: '
    'single tokens; both: phrases and single tokens; object, attribute, '
    'relation: phrases of that kind only (nothing is masked in a caption '
    'without any).',
  )
  exclude: str = setting(
    'image',
    Choice(EXCLUDED),
    'Sentences that are never negatives. caption: the caption itself; image: '
    'all captions of its image; words: all sentences made only of words of '
    'those captions. Repeated sentences are always left out.',
  )
  mask_rate: float = setting(
    0.15,
    Number(0, 1),
    'Nominal share of tokens to mask; with few phrases, far more are masked '
    '(docs/quirks.md, 11). Each copy masks at least one phrase.',
  )
  temperature: float = setting(
    1.5,
    Number(1e-6, 1e6),
    'Sampling temperature of refilling; divides the MLM logits.',
  )
  refill_rounds: int = setting(
    1,
    Whole(1, 100),
    'R, the number of rounds of refilling. 1: all masked words of a copy are '
    'drawn at once, independently, as in the paper. Above 1: every R-th of '
    'adjacent masked words is drawn at once, knowing those drawn before. Each '
    'round after the first runs up to num_copies x num_samples sentences '
    'without gradient.',
  )
  num_in_batch: int = setting(
    4,
    Whole(0, MOST_ROWS),
    'Pretraining: number of other images of the micro-batch that each caption '
    'is matched against; must be below batch.positives; 0: no matching.',
  )
  similar_in_batch: bool = setting(
    False,
    Flag(),
    'Pretraining: draw these other images by their similarity to the caption '
    'before the encoder, as losses.alignment learns it, and not uniformly.',
  )
