"""lmdb_expected.npz: captions, regions and batches from the LMDB folders."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import arrays as structs
from tagsdc_jax.comparison import folders, items
from tagsdc_jax.comparison.recordings import Arrays, Recordings
from tagsdc_jax.data import assembling, captions
from tagsdc_jax.data.dataset import RetrievalDataset
from tagsdc_jax.released import pair_rows

FILE, RECORDS = folders.EXPECTED, 'lmdb_txt_records.json'
_SECTIONS = ('node', 'attribute', 'relation')
_TEXTS = ('raw', 'sentence', 'caption')


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for captions, every store of regions, and batches."""
  recorded = recordings.arrays(FILE)
  data = folders.open_dataset(recordings)
  yield from _captions(recordings, recorded, data)
  for store in folders.image_stores(recordings):
    yield from _regions(recordings, recorded, store)
  yield from _batches(recordings, recorded, data)


def _captions(
  recordings: Recordings, recorded: Arrays, data: RetrievalDataset
) -> Iterator[items.Item]:
  notes = recordings.entry(FILE).get('notes', {})
  if 'txt_ids' in notes:
    yield items.equal(
      FILE, 'txt_ids', [c.caption_id for c in data.captions], notes['txt_ids']
    )
  for key in ('input_ids', 'combined'):
    found = []
    for caption in data.captions:
      ours = caption.token_ids
      if key == 'combined':
        ours = captions.pad_caption(ours, len(ours), data.vocabulary)
      name = f'txt/{caption.caption_id}/{key}'
      if name in recorded:
        found.append(items.equal(FILE, name, ours, recorded[name]))
    if found:
      yield items.largest(found, f'txt/.../{key}')
  limit = notes.get('max_txt_len_filter', {})
  if limit:
    kept = folders.open_dataset(recordings, max_tokens=limit['max_txt_len'])
    yield items.equal(
      FILE,
      'max_txt_len_filter/kept',
      [c.caption_id for c in kept.captions],
      limit['kept'],
    )
  if RECORDS in recordings.manifest.get('other_files', {}):
    yield from _records(recordings.json(RECORDS), data)


def _records(
  records: dict[str, Any], data: RetrievalDataset
) -> Iterator[items.Item]:
  """Compares all fields of the text records that we use."""
  ours = {c.caption_id: c for c in data.captions}
  yield items.equal(FILE, f'{RECORDS}: ids', list(ours), list(records))
  fields = {
    'input_ids': lambda r: list(r['input_ids']),
    'img_fname': lambda r: r['img_fname'],
    'text': lambda r: next((r[key] for key in _TEXTS if key in r), None),
    'tree': _phrases,
  }
  kept = {
    'input_ids': lambda c: c.token_ids.tolist(),
    'img_fname': lambda c: data.image_ids[c.image],
    'text': lambda c: c.text,
    'tree': lambda c: c.phrases,
  }
  for field, theirs in fields.items():
    yield items.equal(
      FILE,
      f'{RECORDS}: {field}',
      {name: kept[field](caption) for name, caption in ours.items()},
      {name: theirs(record) for name, record in records.items()},
      note=f'{len(records)} records',
    )


def _phrases(record: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
  tree = record.get('tree') or {}
  return tuple(
    tuple(phrase['ids'])
    for section in _SECTIONS
    for phrase in tree.get(section) or ()
    if phrase.get('ids')
  )


def _regions(
  recordings: Recordings, recorded: Arrays, store: Path
) -> Iterator[items.Item]:
  data = folders.open_dataset(recordings, store)
  kind = 'fixed' if folders.has_fixed_number(store) else 'th'
  counts_rows = not store.name.startswith('feat_')
  found: dict[str, list[items.Item]] = {}
  for image, name in enumerate(data.image_ids):
    key = f'img/{kind}/{name}'
    if f'{key}/features' not in recorded:
      continue
    regions = data.read_regions(image)
    theirs = {
      part: recorded[f'{key}/{part}']
      for part in ('features', 'boxes7', 'name2nbb')
    }
    if counts_rows:  # Such a folder comes without a JSON file of counts.
      theirs['name2nbb'] = np.array(len(theirs['features']))
    ours = {
      'features': regions.features.astype(np.float32),
      'boxes7': regions.boxes,
      'name2nbb': data.num_regions[image],
    }
    for part, array in theirs.items():
      found.setdefault(part, []).append(
        items.equal(FILE, name, ours[part], array)
      )
  place = store.relative_to(recordings.folder).as_posix()
  for part, several in found.items():
    worst = items.largest(several, f'img/{kind}/.../{part}, {store.name}')
    yield dataclasses.replace(worst, note=f'{worst.note}; {place}')


def _batches(
  recordings: Recordings, recorded: Arrays, data: RetrievalDataset
) -> Iterator[items.Item]:
  """Compares padded batches: one text with images, one image with texts."""
  texts = {c.caption_id: number for number, c in enumerate(data.captions)}
  images = {name: number for number, name in enumerate(data.image_ids)}
  notes = recordings.entry(FILE).get('notes', {})
  for kind in ('from_text', 'from_image'):
    if kind not in recorded.groups():
      continue
    note = recordings.note(FILE, 'notes', kind)
    text = texts[note['txt_id']]
    own = data.captions[text].image
    if kind == 'from_text':
      batch = _pad(
        data, [text], [own, *(images[i] for i in note['negative_images'])]
      )
    else:
      batch = _pad(
        data, [text, *(texts[t] for t in note['negative_texts'])], [own]
      )
    yield from _batch(recorded, kind, *batch)
    if f'{kind}/input_dict' in recorded:
      yield items.equal(
        FILE,
        f'{kind}/input_dict',
        np.concatenate(
          [data.captions[c].token_ids for c in data.captions_of_image[own]]
        ),
        recorded[f'{kind}/input_dict'],
      )
  order = notes.get('eval_image_order')
  if order is None:
    return
  yield items.equal(
    FILE,
    'eval_image_order',
    np.sort(data.num_regions),
    np.array([data.num_regions[images[i]] for i in order]),
    note='compared by numbers of regions',
  )
  size = notes.get('eval_minibatch', len(order))
  for group in recorded.groups():
    if not group.startswith('eval_item'):
      continue
    for part in {
      key.split('/')[1] for key in recorded if key.startswith(f'{group}/')
    }:
      start = size * int(part.removeprefix('minibatch'))
      batch = _pad(
        data,
        [int(group.removeprefix('eval_item'))],
        [images[i] for i in order[start : start + size]],
      )
      yield from _batch(recorded, f'{group}/{part}', *batch)


def _pad(
  data: RetrievalDataset, texts: list[int], images: list[int]
) -> tuple[structs.Texts, structs.Images]:
  """Returns captions and images by number, padded to the longest of each."""
  longest = max(len(data.captions[t].token_ids) for t in texts)
  most = max(len(data.read_regions(i).features) for i in images)
  return (
    assembling.texts(data, texts, longest),
    assembling.images(data, images, most),
  )


def _batch(
  recorded: Arrays, name: str, texts: structs.Texts, images: structs.Images
) -> Iterator[items.Item]:
  """Compares a batch; with several texts the release's index is wrong."""
  rows = pair_rows.pair_rows(texts, images)
  shifted = pair_rows.pair_rows(texts, images, texts.num_tokens[-1])
  mask = np.asarray(rows.mask)
  is_released = f'{name}/gather_index_fixed' in recorded
  ours = {
    'input_ids': texts.token_ids,
    'img_feat': images.features,
    'position_ids': np.arange(texts.token_ids.shape[1])[None],
    'img_pos_feat': images.boxes,
    'attn_masks': mask,
    'gather_index_fixed': _places(rows, mask),
    'gather_index': _places(shifted if is_released else rows, mask),
  }
  for key, array in ours.items():
    if f'{name}/{key}' in recorded:
      theirs = recorded[f'{name}/{key}']
      array = (
        np.broadcast_to(array, theirs.shape)
        if key == 'input_ids'
        else (np.asarray(array))
      )
      variant = ''
      if is_released and key.startswith('gather_index'):
        variant = 'fixed' if key.endswith('_fixed') else 'as_released'
      yield items.equal(FILE, f'{name}/{key}', array, theirs, variant=variant)


def _places(rows: pair_rows.Rows, mask: np.ndarray) -> np.ndarray:
  """Returns the index that gathers each row; padding maps to itself."""
  return np.where(mask, np.asarray(rows.places), np.arange(mask.shape[1]))
