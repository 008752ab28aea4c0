"""Tests of regions from a detector of `transformers`."""

import builtins
import pickle

import numpy as np
import pytest
from PIL import Image

from tagsdc_jax import errors
from tagsdc_jax.preparing.photos import cells, detector, store
from tests.conversion import vision_folders

SIZES = [(60, 40), (33, 70)]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """Returns the folder of a tiny YOLOS with random weights."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  torch.manual_seed(0)
  config = transformers.YolosConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    image_size=[64, 64],
    patch_size=16,
    num_detection_tokens=12,
    num_labels=3,
    id2label={0: 'cat', 1: 'dog', 2: 'tree'},
  )
  made = transformers.YolosForObjectDetection(config)
  with torch.no_grad():
    for weight in made.parameters():  # Boxes and classes that differ.
      weight.add_(torch.randn(weight.shape) * 0.5)
  folder = tmp_path_factory.mktemp('yolos')
  transformers.utils.logging.disable_progress_bar()
  made.save_pretrained(folder)
  processor = getattr(
    transformers, 'YolosImageProcessorPil', transformers.YolosImageProcessor
  )
  processor(size={'shortest_edge': 64, 'longest_edge': 96}).save_pretrained(
    folder
  )
  return str(folder)


@pytest.fixture(scope='module')
def places(tmp_path_factory):
  root = tmp_path_factory.mktemp('photos')
  (root / 'photos').mkdir()
  rng = np.random.default_rng(0)
  for number, (width, height) in enumerate(SIZES):
    pixels = rng.integers(256, size=(height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / 'photos' / f'a{number}.png')
  return str(root / 'photos'), vision_folders.write(root / 'encoder')


def _open(places, model, **options):
  return store.open_photos(
    places[0], 'detector', encoder=places[1], detector=model, **options
  )


def test_boxes_are_the_detectors_and_features_the_encoders(places, model):
  import torch
  import transformers

  found = _open(places, model, threshold=0.1)
  assert found.kind == 'photos, detector'
  assert found.label_names == ('cat', 'dog', 'tree')
  assert any(model in path for path in found.sources)
  assert any(places[1] in path for path in found.sources)
  regions = found.read(found.names)
  network = transformers.YolosForObjectDetection.from_pretrained(model).eval()
  processor = transformers.AutoImageProcessor.from_pretrained(model)
  for (width, height), name, of_photo in zip(SIZES, found.names, regions):
    with Image.open(f'{places[0]}/{name}') as image:
      inputs = processor(image, return_tensors='pt')
    with torch.inference_mode():
      (expected,) = processor.post_process_object_detection(
        network(**inputs), threshold=0.1, target_sizes=[(height, width)]
      )
    order = np.argsort(-expected['scores'].numpy(), kind='stable')
    assert 3 <= len(order) <= 12
    boxes = np.clip(
      expected['boxes'].numpy()[order], 0, [width, height, width, height]
    )
    assert of_photo.boxes[0].tolist() == [0, 0, width, height]
    np.testing.assert_allclose(of_photo.boxes[1:], boxes, atol=1e-3)
    np.testing.assert_allclose(
      of_photo.confidence[1:], expected['scores'].numpy()[order], atol=1e-6
    )
    assert of_photo.confidence[0] == 1 and of_photo.labels[0] == -1
    np.testing.assert_array_equal(
      of_photo.labels[1:], expected['labels'].numpy()[order]
    )
    assert of_photo.boxes.dtype == of_photo.confidence.dtype == np.float32
    assert (of_photo.width, of_photo.height) == (width, height)
  # Whole photos have the features that `grid` has.
  grid = store.open_photos(places[0], 'grid', encoder=places[1])
  for one, other in zip(regions, grid.read(found.names)):
    np.testing.assert_allclose(one.features[0], other.features[0], atol=1e-5)
    assert one.features.shape == (len(one.boxes), vision_folders.HIDDEN)


def test_features_are_means_of_tokens_in_the_boxes(places, model):
  found = _open(places, model, threshold=0.0)
  grid = store.open_photos(places[0], 'grid', encoder=places[1])
  (regions,), (of_cells,) = found.read(['a0.png']), grid.read(['a0.png'])
  # The tiny encoder has 6 x 6 patches: a cell is a patch.
  weights = cells.box_weights(regions.boxes, *SIZES[0], 6)
  np.testing.assert_allclose(
    regions.features, weights @ of_cells.features[1:], atol=1e-5
  )


def test_the_most_probable_boxes_are_kept(places, model):
  all_, few, none = (
    _open(places, model, **options).read(['a1.png'])[0]
    for options in (
      {'threshold': 0.0},
      {'threshold': 0.0, 'max_boxes': 2},
      {'threshold': 1.0},
    )
  )
  assert (np.diff(all_.confidence) <= 0).all()
  np.testing.assert_array_equal(few.boxes, all_.boxes[:3])
  np.testing.assert_allclose(few.features, all_.features[:3], atol=1e-6)
  assert len(none.boxes) == len(none.features) == 1


def test_a_photo_does_not_depend_on_the_others(places, model):
  found = _open(places, model)
  together = found.read(['a0.png', 'a1.png'])
  copy = pickle.loads(pickle.dumps(found))
  (alone,) = copy.read(['a1.png'])
  np.testing.assert_array_equal(alone.features, together[1].features)
  np.testing.assert_array_equal(alone.boxes, together[1].boxes)
  np.testing.assert_array_equal(alone.confidence, together[1].confidence)


def test_options_and_models_that_are_refused(places, model, tmp_path):
  for options, message in (
    ({'threshold': 1.5}, 'threshold must be from 0 to 1, got 1.5'),
    ({'max_boxes': 0}, 'max_boxes must be at least 1, got 0'),
  ):
    with pytest.raises(errors.UserError, match=message):
      _open(places, model, **options)
  # A vision transformer is no detector.
  with pytest.raises(
    errors.UserError, match='object detection model'
  ) as raised:
    _open(places, places[1])
  assert '\n' not in str(raised.value)
  with pytest.raises(errors.UserError, match='has no model.safetensors'):
    _open(places, str(tmp_path))


def test_weights_that_are_missing_are_named(places, model, tmp_path):
  import shutil

  from safetensors import numpy as safetensors_numpy

  folder = tmp_path / 'model'
  shutil.copytree(model, folder)
  weights = safetensors_numpy.load_file(folder / 'model.safetensors')
  del weights['class_labels_classifier.layers.2.bias']
  safetensors_numpy.save_file(
    weights, folder / 'model.safetensors', {'format': 'pt'}
  )
  with pytest.raises(errors.UserError, match='lacks 1 weights of an object'):
    _open(places, str(folder))


def test_without_torch_the_extra_is_named(monkeypatch, tmp_path):
  import_ = builtins.__import__

  def without_torch(name, *args, **options):
    if name == 'torch':
      raise ImportError(name)
    return import_(name, *args, **options)

  monkeypatch.setattr(builtins, '__import__', without_torch)
  with pytest.raises(errors.UserError, match=r'pip install "tagsdc_jax\[visio'):
    detector._load(tmp_path)
