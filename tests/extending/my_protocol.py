"""Image retrieval by long captions and by short ones."""

import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import protocols, recall


def by_length(
  scores: recall.Scores,
  data: dataset.RetrievalDataset,
  counting: protocols.Counting,
) -> dict[str, dict[str, float]]:
  """Returns recalls in per cent of captions above and below the median."""
  del counting  # What the settings' quirks say of how hits are counted.
  lengths = np.array([len(caption.token_ids) for caption in data.captions])
  images = np.array([caption.image for caption in data.captions])
  found = {}
  for name, is_chosen in (
    ('long', lengths > np.median(lengths)),
    ('short', lengths <= np.median(lengths)),
  ):
    chosen = np.flatnonzero(is_chosen)
    rows = scores.rows(chosen)  # [captions, all images], the highest is best.
    found[name] = recall.recalls(recall.image_ranks(rows, images[chosen]))
  return found
