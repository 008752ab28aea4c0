"""Recalls published in the paper, for the protocols that it uses."""

from typing import Any

from tagsdc_jax.evaluation import recall

# R@1, R@5, R@10 of text retrieval, then of image retrieval, in percent.
_NUMBERS = {
  'coco_5k': {
    'TAGS-DC base': ((66.6, 88.6, 94.0), (51.6, 79.1, 87.5)),
    'TAGS-DC large': ((67.8, 89.6, 94.2), (53.3, 80.0, 88.0)),
  },
  'flickr_1k': {
    'TAGS-DC base': ((87.9, 98.1, 99.3), (74.5, 93.3, 96.3)),
    'TAGS-DC large': ((90.6, 98.8, 99.1), (77.3, 94.3, 97.3)),
  },
}


def results(protocol: str) -> list[tuple[str, dict[str, Any]]]:
  """Returns the published results of a protocol, if any.

  Args:
    protocol: a key of `protocols.PROTOCOLS`.
  Returns:
    ("published, NAME", result) pairs; for results see `recall.with_means`.
  Reference: arXiv 2111.03349.
  """
  return [
    (
      f'published, {name}',
      recall.with_means(
        *(
          {f'r{k}': value for k, value in zip(recall.CUTOFFS, values)}
          for values in (image, text)
        )
      ),
    )
    for name, (text, image) in _NUMBERS.get(protocol, {}).items()
  ]
