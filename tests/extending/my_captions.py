"""Captions in a JSON file, region features and boxes in two arrays."""

import json
from pathlib import Path

import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import captions, dataset, regions


def open_split(config: settings.Data, split: str) -> dataset.RetrievalDataset:
  """Returns a split of the folder data.root."""
  root = Path(config.root)
  images = json.loads((root / f'{split}.json').read_text('utf-8'))
  features = np.load(root / f'{split}_features.npy', mmap_mode='r')
  boxes = np.load(root / f'{split}_boxes.npy', mmap_mode='r')
  vocabulary = captions.load_vocabulary(root / 'vocab.txt')
  number_of = {word: number for number, word in enumerate(vocabulary.words)}
  found = []
  for image, sentences in enumerate(images.values()):
    for text in sentences:
      found.append(dataset.Caption(
          caption_id=f'{split}-{len(found)}', image=image, phrases=(),
          token_ids=np.array([number_of.get(word, vocabulary.unk)
                              for word in text.split()]), text=text))

  def read_regions(image: int) -> dataset.Regions:
    return dataset.Regions(np.array(features[image]),
                           regions.make_boxes7(boxes[image]))

  return dataset.RetrievalDataset(
      name=f'my captions, {split}', vocabulary=vocabulary, captions=found,
      image_ids=list(images), read_regions=read_regions,
      captions_of_image=dataset.group_captions(found, len(images)),
      num_regions=np.full(len(images), features.shape[1]),
      feature_size=features.shape[2], feature_dtype=features.dtype,
      image_keys=[(str(root), name) for name in images])
