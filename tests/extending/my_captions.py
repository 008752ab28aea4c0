"""Captions in a JSON file, region features and boxes in two arrays."""

import json
from pathlib import Path

import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import captions, dataset
from tagsdc_jax.data.regions import make_boxes7


def open_split(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  """Returns a split of the folder data.root."""
  root = Path(config.root)
  images = json.loads((root / f'{split}.json').read_text('utf-8'))
  features = np.load(root / f'{split}_features.npy', mmap_mode='r')
  boxes = np.load(root / f'{split}_boxes.npy', mmap_mode='r')
  tokenizer = captions.load_tokenizer(str(root / 'vocab.txt'))
  found = []
  for image, sentences in enumerate(images.values()):
    for text in sentences:
      name, tokens = f'{split}-{len(found)}', captions.tokenize(text, tokenizer)
      found.append(dataset.Caption(name, image, tokens, (), text))

  def read_regions(image: int) -> dataset.Regions:
    return dataset.Regions(np.array(features[image]), make_boxes7(boxes[image]))

  return dataset.RetrievalDataset(
    f'my captions, {split}',
    captions.load_vocabulary(root / 'vocab.txt'),
    captions=found,
    image_ids=list(images),
    read_regions=read_regions,
    captions_of_image=dataset.group_captions(found, len(images)),
    num_regions=np.full(len(images), features.shape[1]),
    feature_size=features.shape[2],
    feature_dtype=features.dtype,
    image_keys=[(str(root), name) for name in images],
  )
