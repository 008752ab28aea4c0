"""Image retrieval with long and with short captions."""

import numpy as np

from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import protocols, recall


def by_length(
  scores: recall.Scores,
  data: dataset.RetrievalDataset,
  counting: protocols.Counting,
) -> dict[str, dict[str, float]]:
  """Returns recalls in percent for captions above and below median length."""
  del counting  # How hits are counted under the settings' quirks.
  lengths = np.array([len(caption.token_ids) for caption in data.captions])
  images = np.array([caption.image for caption in data.captions])
  found = {}
  for name, is_chosen in (
    ('long', lengths > np.median(lengths)),
    ('short', lengths <= np.median(lengths)),
  ):
    chosen = np.flatnonzero(is_chosen)
    rows = scores.rows(chosen)  # [captions, all images], higher is better.
    found[name] = recall.recalls(recall.image_ranks(rows, images[chosen]))
  return found
