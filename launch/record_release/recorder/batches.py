"""Batches from the release's data sets, with the negatives that were drawn."""

import argparse
import random
from typing import Any, Dict, List, Tuple

import torch

from recorder.databases import Databases
from recorder.release import Release
from recorder.watching import logged

Batch = Dict[str, torch.Tensor]


def choose_captions(
  databases: Databases, options: argparse.Namespace
) -> List[str]:
  """Returns the ids of the captions to make batches for."""
  if options.captions:
    return options.captions
  ids = list(databases.short.id2len)
  return random.Random(options.seed).sample(ids, min(options.batches, len(ids)))


def from_text(
  release: Release,
  databases: Databases,
  caption: str,
  options: argparse.Namespace,
) -> Tuple[Batch, Dict[str, Any]]:
  """Returns one caption's batch, and the names of its contents.

  Returns:
    (batch, names): the caption with many images, and its masked copies with
    its image. Row 0 is the positive.
  """
  data = release.pnsgd.PNSGDFromText(
    databases.short,
    databases.images,
    options.negative_size,
    options.mlm_samples,
  )
  with logged(release.pnsgd, 'sample_negative') as draws:
    batch = data[data.ids.index(caption)]
  image = data.txt2img[caption]
  return batch, {
    'caption_id': caption,
    'image_id': image,
    'image_ids': [image] + draws[-1].result,
  }


def from_image(
  release: Release,
  databases: Databases,
  caption: str,
  options: argparse.Namespace,
) -> Tuple[Batch, Dict[str, Any]]:
  """Returns the batch of a caption's image and many captions, and their ids.

  Row 0 is the positive.
  """
  data = release.pnsgd.PNSGDFromImage(
    databases.short, databases.images, options.negative_size
  )
  with logged(release.pnsgd, 'sample_negative') as draws:
    batch = data[data.ids.index(caption)]
  return batch, {
    'image_id': data.txt2img[caption],
    'caption_ids': [caption] + draws[-1].result,
  }


def with_true_gather(release: Release, batch: Batch) -> Batch:
  """Returns a `from_image` batch whose regions start after the padded text."""
  num_boxes = batch['img_feat'].size(1)
  lengths = (batch['attn_masks'].sum(1) - num_boxes).tolist()
  rows = len(lengths)
  fixed = dict(batch)
  fixed['gather_index'] = release.data.get_gather_index(
    lengths,
    [num_boxes] * rows,
    rows,
    batch['input_ids'].size(1),
    batch['attn_masks'].size(1),
  )
  return fixed


def for_forward(
  release: Release,
  databases: Databases,
  caption: str,
  options: argparse.Namespace,
) -> Tuple[Batch, Dict[str, Any]]:
  """Returns captions of mixed lengths, each with its own image, and names.

  Returns:
    (batch, names): the given caption first, then randomly drawn ones.
  """
  ids = list(databases.short.id2len)
  count = min(options.forward_rows, len(ids))
  others = random.sample([key for key in ids if key != caption], count - 1)
  images = databases.text.txt2img
  data = release.data.DetectFeatTxtTokDataset(databases.short, databases.images)
  rows, lengths, boxes = [], [], []
  for key in [caption] + others:
    tokens = databases.text.combine_inputs(databases.text[key]['input_ids'])
    features, places, num_boxes = data._get_img_feat(images[key])
    mask = torch.ones(len(tokens) + num_boxes, dtype=torch.long)
    rows.append(
      (tokens, features, places, mask, torch.ones(1, dtype=torch.long))
    )
    lengths.append(len(tokens))
    boxes.append(num_boxes)
  batch = release.itm.itm_collate(rows)
  del batch['targets']
  batch['txt_lens'] = torch.tensor(lengths)
  batch['num_bbs'] = torch.tensor(boxes)
  return batch, {
    'caption_ids': [caption] + others,
    'image_ids': [images[key] for key in [caption] + others],
  }
