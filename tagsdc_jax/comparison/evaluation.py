"""evaluation.npz: scores and recalls of checkpoints on the LMDB folders."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.comparison import folders, items, metrics
from tagsdc_jax.comparison.recordings import Recordings
from tagsdc_jax.data.dataset import RetrievalDataset
from tagsdc_jax.evaluation import matrix, protocols, recall
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import head_init

FILE = 'evaluation.npz'
_SCORES = 2e-5
# The release's script ranks with the head that stage 1 started from; the
# evaluation during its training does not.
_SCRIPT = 'inf_nsgd/'
# The parts of a checkpoint needed for ranking; the same for both stages.
_RANKING = (
  'text_embeddings',
  'image_embeddings',
  'encoder',
  'pooler',
  'rank_output',
  'itm_output',
)


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for every checkpoint, ranked with both heads."""
  recorded = recordings.arrays(FILE)
  data = folders.open_dataset(recordings)
  columns = [
    data.image_ids.index(name) for name in recordings.note(FILE, 'img_ids')
  ]
  yield items.equal(
    FILE,
    'txt_ids',
    [c.caption_id for c in data.captions],
    recordings.note(FILE, 'txt_ids'),
  )
  model = RetrievalModel(recordings.model())
  for stage in recorded.groups():
    weights = recordings.parameters(f'checkpoint_{stage}.safetensors')
    params = {name: weights[name] for name in _RANKING}
    arrays = recorded.under(f'{stage}/')
    for prefix, result_key, head in (
      ('', 'evaluate', params),
      (_SCRIPT, f'{_SCRIPT}result', head_init.reset_rank_head(params)),
    ):
      own = {
        key.removeprefix(prefix): array
        for key, array in arrays.items()
        if key.startswith(_SCRIPT) == bool(prefix)
      }
      if own:
        result, scores = _rank(model, head, data)
        yield from _scores(
          f'{stage}/{prefix}',
          scores[:, columns],
          own,
          recordings.tolerance('raw scores', _SCORES),
        )
        if result_key in arrays:
          yield _result(
            f'{stage}/{result_key}', result, scores, data, arrays[result_key]
          )


def _rank(
  model: RetrievalModel, params: Any, data: RetrievalDataset
) -> tuple[dict[str, Any], np.ndarray]:
  """Returns recalls, counted as in the release, and our scores."""
  devices = jax.local_devices()[:1]
  scores = matrix.score_matrix(
    model,
    parallel.replicate(params, devices),
    data,
    settings.Evaluation(tile_texts=16, tile_images=4, num_buckets=2),
    devices=devices,
  )
  return protocols.count(
    recall.Scores(scores),
    data,
    settings.Quirks(float16_scores=True, overcounted_recall=True),
  ), scores


def _scores(
  prefix: str,
  ours: np.ndarray,
  recorded: dict[str, np.ndarray],
  tolerance: float,
) -> Iterator[items.Item]:
  if 'scores_f32' in recorded:
    yield items.close(
      FILE, f'{prefix}scores_f32', ours, recorded['scores_f32'], atol=tolerance
    )
  if 'scores_f16' in recorded:
    theirs = recorded['scores_f16']
    yield items.within(
      FILE,
      f'{prefix}scores_f16',
      ours,
      theirs.astype(np.float32),
      bounds=tolerance + 0.5 * np.spacing(np.abs(theirs)).astype(np.float32),
      tolerance=f'{tolerance:g} + rounding',
      note='recorded as float16',
    )


def _result(
  name: str,
  result: dict[str, Any],
  scores: np.ndarray,
  data: RetrievalDataset,
  theirs: np.ndarray,
) -> items.Item:
  """Compares recalls; with ties, theirs may lie between our two extremes."""
  owner = np.array([caption.image for caption in data.captions])
  rounded = recall.as_float16(scores)
  best = metrics.ranks(
    metrics.favored(rounded, owner), owner, data.captions_of_image
  )
  worst = metrics.as_recorded(
    result['image_retrieval'], result['text_retrieval']
  )
  at_best = metrics.as_recorded(
    recall.overcounted_recalls(best[0]), recall.recalls(best[1])
  )
  note = (
    ''
    if np.array_equal(worst, at_best)
    else 'between ours with all ties lost and all ties won'
  )
  return items.close(
    FILE,
    name,
    np.clip(theirs, worst, at_best),
    theirs,
    atol=metrics.EXACT,
    variant='as_released',
    note=note,
  )
