import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import parallel, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.evaluation import matrix
from tagsdc_jax.models import retrieval

_CONFIG = settings.Model(
    num_layers=2, hidden_size=16, num_heads=2, intermediate_size=24,
    max_positions=16, vocab_size=30, feature_size=6)
_MODEL = retrieval.RetrievalModel(_CONFIG)
_EVALUATION = settings.Evaluation(tile_texts=5, tile_images=3)


@functools.cache
def _data():
  rng = np.random.default_rng(0)
  # 7 images with 1 to 4 captions of 3 to 9 tokens and 2 to 6 regions.
  num_captions, num_regions = [2, 1, 4, 3, 1, 2, 4], [6, 2, 4, 3, 5, 2, 6]
  captions, of_image = [], []
  for image, number in enumerate(num_captions):
    of_image.append(tuple(range(len(captions), len(captions) + number)))
    for _ in range(number):
      tokens = rng.integers(9, 30, rng.integers(3, 10)).astype(np.int32)
      captions.append(dataset.Caption(f'c{len(captions)}', image, tokens, (),
                                      ''))
  regions = [dataset.Regions(
      rng.normal(size=(n, 6)).astype(np.float32),
      rng.random((n, 7)).astype(np.float32)) for n in num_regions]
  return dataset.RetrievalDataset(
      'toy', dataset.Vocabulary(30, 0, 5, 6, 7, 8, (9, 30)), captions,
      [f'image {i}' for i in range(7)], of_image, regions.__getitem__,
      np.array(num_regions, np.int32), 6, np.dtype(np.float32))


@functools.cache
def _params():
  shapes = retrieval.parameter_shapes(_MODEL)
  rng = np.random.default_rng(0)
  # Much larger than fresh ones, so that scores differ visibly.
  return jax.tree_util.tree_map_with_path(
      lambda path, s: rng.normal(path[-1].key == 'scale', 0.4,
                                 s.shape).astype(np.float32), shapes)


@jax.jit
def _direct(params, token_ids, features, boxes, mask):
  apply = functools.partial(_MODEL.apply, {'params': params})
  x = jnp.concatenate([apply(token_ids, method='embed_text'),
                       apply(features, boxes, method='embed_image')], axis=1)
  states = apply(x, mask, num_outputs=token_ids.shape[1], method='encode')
  return apply(states, method='match_logits')


@functools.cache
def _all_direct_scores():
  """Every pair at once, text and image padded apart from each other."""
  data = _data()
  texts = assembling.texts(data, range(len(data.captions)), 9)
  images = assembling.images(data, range(7), 6)
  pairs = np.indices((len(data.captions), 7)).reshape(2, -1)
  masks = [np.arange(size)[None] < lengths[rows, None]
           for size, lengths, rows in ((11, texts.num_tokens, pairs[0]),
                                       (6, images.num_regions, pairs[1]))]
  return np.asarray(_direct(
      _params(), texts.token_ids[pairs[0]], images.features[pairs[1]],
      images.boxes[pairs[1]], np.concatenate(masks, axis=1))).reshape(-1, 7)


@pytest.mark.parametrize('num_devices', [1, 4])
def test_matrix_equals_direct_scores(num_devices):
  devices = parallel.local_devices(num_devices)
  progress = []
  scores = matrix.score_matrix(
      _MODEL, parallel.replicate(_params(), devices), _data(), _EVALUATION,
      num_widths=2, devices=devices, progress=progress.append)
  assert scores.shape == (17, 7) and scores.dtype == np.float32
  assert np.std(scores) > 0.1
  np.testing.assert_allclose(scores, _all_direct_scores(), atol=1e-5)
  assert sum(progress) == 17 * 7


def test_direct_scores_equal_unpadded_ones():
  data = _data()
  lengths = [len(c.token_ids) for c in data.captions]
  # Shortest with fewest regions, longest with most, and a mixture.
  for text, image in ((np.argmin(lengths), 1), (np.argmax(lengths), 0),
                      (np.argmin(lengths), 6)):
    tokens = np.concatenate([[6], data.captions[text].token_ids, [7]])
    regions = data.read_regions(image)
    mask = np.ones((1, len(tokens) + len(regions.features)), bool)
    score = _direct(_params(), tokens[None], regions.features[None],
                    regions.boxes[None], mask)
    np.testing.assert_allclose(score, _all_direct_scores()[text, image],
                               atol=1e-5)


@pytest.mark.parametrize('tile_texts, tile_images', [(5, 3), (1, 1), (40, 9)])
def test_plan_covers_every_pair(tile_texts, tile_images):
  data = _data()
  plan = matrix.make_plan(
      data, settings.Evaluation(tile_texts=tile_texts,
                                tile_images=tile_images), 3)
  assert set(plan.texts.ravel()) == set(range(17))
  assert set(plan.images.ravel()) == set(range(7))
  assert plan.texts.shape[1] == tile_texts
  assert plan.images.shape[1] == tile_images
  assert len(plan.widths) <= 3
  lengths = np.array([len(c.token_ids) + 2 for c in data.captions])
  for text_group, texts in enumerate(plan.texts):
    for image_group, images in enumerate(plan.images):
      width = plan.width_of(text_group, np.array([image_group]))
      longest = lengths[texts].max() + data.num_regions[images].max()
      assert width == min(w for w in plan.widths if w >= longest)
