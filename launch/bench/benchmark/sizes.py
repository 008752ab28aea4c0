"""Benchmark sizes: of the network, the counts, and the lengths of the data."""

import dataclasses

from tagsdc_jax import settings


@dataclasses.dataclass(frozen=True)
class Lengths:
  """Lengths of synthetic data, drawn uniformly between adjacent quantiles.

  Attributes:
    tokens: quantiles of a caption's word pieces, without [CLS] and [SEP].
    regions: quantiles of an image's regions.
  """

  tokens: tuple[int, ...]
  regions: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Size:
  """One benchmark.

  Attributes:
    config: all settings of stage 1, including vocabulary and feature size.
    lengths: of synthetic data, used if no data is given.
    rounds: number of rounds to take medians over, after one warm-up round. A
      round is an update of ours and one positive in PyTorch.
    eval_images: number of images; one caption of each is scored against all of
      them. PyTorch takes up to 400 at once, like the release; with far fewer,
      its activations would fit into a CPU's cache, unlike in practice.
    eager_captions: number of captions that PyTorch scores against all images.
  """

  config: settings.Settings
  lengths: Lengths
  rounds: int
  eval_images: int
  eager_captions: int


# Deciles of flickr8k_mini, for which the CPU size is intended.
_SMALL = Lengths(
  tokens=(2, 8, 9, 10, 11, 12, 13, 14, 15, 18, 37),
  regions=(10, 10, 10, 10, 10, 10, 11, 12, 13, 16, 20),
)
# Captions of 8 to 40 tokens and 10 to 100 regions, as the detections of
# UNITER's Flickr30K and COCO features: most captions short, regions many.
_LARGE = Lengths(
  tokens=(8, 10, 11, 11, 12, 13, 14, 15, 17, 21, 40),
  regions=(10, 18, 23, 27, 32, 36, 41, 47, 56, 70, 100),
)

SIZES = {
  'cpu': Size(
    settings.Settings(
      model=settings.Model(
        num_layers=4,
        hidden_size=256,
        num_heads=4,
        intermediate_size=1024,
        vocab_size=28996,
        feature_size=256,
      ),
      batch=settings.Batch(positives=1, micro_batches=4),
      # Just enough tokens to keep two cores busy, which minimizes padding.
      compute=settings.Compute(
        score_tokens=704, gradient_tokens=576, target_chunk=32
      ),
      # Few captions: tiles with as many captions as images pad least.
      evaluation=settings.Evaluation(tile_texts=16, tile_images=16),
    ),
    _SMALL,
    rounds=7,
    eval_images=200,
    eager_captions=20,
  ),
  'gpu': Size(
    settings.Settings(
      model=settings.Model(vocab_size=28996, feature_size=2048),
      # Many positives at once, since the last chunk of a queue is rarely full.
      batch=settings.Batch(positives=16, micro_batches=1),
      compute=settings.Compute(
        dtype='bfloat16',
        score_tokens=16384,
        gradient_tokens=8192,
        target_chunk=512,
      ),
      evaluation=settings.Evaluation(tile_texts=64, tile_images=16),
    ),
    _LARGE,
    rounds=7,
    eval_images=1000,
    eager_captions=50,
  ),
  # For tests of the benchmark itself.
  'tiny': Size(
    settings.Settings(
      model=settings.Model(
        num_layers=2,
        hidden_size=32,
        num_heads=2,
        intermediate_size=64,
        max_positions=64,
        vocab_size=300,
        feature_size=16,
      ),
      negatives=settings.Negatives(
        pool_size=7, num_hard=3, num_copies=2, num_samples=3
      ),
      batch=settings.Batch(positives=1, micro_batches=2),
      compute=settings.Compute(target_chunk=8, score_tokens=160),
    ),
    _SMALL,
    rounds=2,
    eval_images=8,
    eager_captions=4,
  ),
}
