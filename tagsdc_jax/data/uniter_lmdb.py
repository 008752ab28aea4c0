"""Reads UNITER's LMDB folders. No other module knows this format.

Text folder: data.mdb (caption id -> lz4 frame of msgpack), meta.json,
id2len.json, txt2img.json, img2txts.json. Image folder: data.mdb (file name ->
msgpack with arrays, or a compressed npz), named after how regions were
selected when it was written, and an nbb JSON file next to it:

  feat_th0.2_max100_min10   max(10, number with confidence > 0.2), at most 100
  feat_numbb36              the first 36
  all, or any other name    not selected yet; we select by the first rule

each also with "_compressed". Records are data only: nothing that could run
code when it is read (pickles, object arrays) is accepted.
Reference: data/data.py; differs: a file is opened once per process, no matter
how many data sets use it, and the "all" folders can be read.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import lmdb_images
from tagsdc_jax.data import phrases as phrases_lib
from tagsdc_jax.data.dataset import (
  Caption,
  Contents,
  RetrievalDataset,
  Vocabulary,
  group_captions,
)
from tagsdc_jax.data.lmdb_files import (
  bad,
  decode_text,
  get,
  open_folder,
  read_json,
)
from tagsdc_jax.errors import UserError
from tagsdc_jax.runtime.progress import progress_bar

_TEXT_KEYS = ('raw', 'sentence', 'caption')
_TOKENIZER_KEYS = ('toker', 'bert', 'tokenizer')
# Number of captions decoded to check a vocabulary, and the share of them that
# may differ: raw texts are not always what was tokenized. With a wrong
# vocabulary nearly all differ.
_MAX_DECODED, _MAX_ODD = 100, 0.1


def load_uniter_lmdb(
  text_db: str | os.PathLike,
  image_db: str | os.PathLike,
  *,
  max_tokens: int | None = None,
  vocabulary_file: str | os.PathLike | None = None,
  conf_threshold: float | None = None,
  max_boxes: int | None = None,
  min_boxes: int | None = None,
  num_boxes: int | None = None,
  compressed: bool | None = None,
) -> RetrievalDataset:
  """Returns one split: all captions decoded, regions read on demand.

  `num_regions` is the number of boxes according to the nbb JSON file or the
  folder's name: an upper bound for sorting and padding; `read_regions` returns
  the true number. Without either, every image of the split is read once.

  Args:
    text_db: text folder.
    image_db: image folder, or its parent if the settings below match only one
      folder in it.
    max_tokens: length of the longest caption kept, without [CLS] and [SEP];
      None keeps all. The images of dropped captions are kept.
    vocabulary_file: vocab.txt for the words; None: only meta.json's ids.
    conf_threshold: regions above this confidence are kept; negative for a
      folder with a fixed number. None: as the folder's name says, else 0.2.
    max_boxes: most regions kept; None: as the name says, else 100.
    min_boxes: fewest regions kept; None: as the name says, else 10.
    num_boxes: regions of a folder with a fixed number; None: as its name says.
    compressed: whether the folder is "_compressed"; None: either.
  Raises:
    UserError: if a folder, file, key or record is missing or malformed.
  """
  wanted = lmdb_images.BoxSettings(
    conf_threshold, max_boxes, min_boxes, num_boxes, compressed
  )
  folder = _TextFolder(Path(text_db), vocabulary_file)
  read = list(folder.captions())
  if vocabulary_file is not None:
    _check_words(read, vocabulary_file, folder)
  captions = [caption for caption, _ in read if _is_kept(caption, max_tokens)]
  if not read:
    raise bad(
      folder.path / 'id2len.json',
      'the names of captions',
      'none',
      'write the folder again',
    )
  if not captions:
    raise bad(
      folder.path / 'id2len.json',
      'the names of captions, at least '
      f'one of at most max_tokens = {max_tokens} tokens',
      f'{len(read)} captions, all longer',
      'raise data.max_caption_tokens, or write the folder again',
    )
  store = lmdb_images.ImageStore(Path(image_db), folder.image_ids, wanted)
  return RetrievalDataset(
    name=folder.path.name,
    vocabulary=folder.vocabulary,
    captions=_compact(captions),
    image_ids=folder.image_ids,
    captions_of_image=group_captions(captions, len(folder.image_ids)),
    read_regions=store.read,
    num_regions=store.num_regions(),
    feature_size=store.feature_size,
    feature_dtype=store.feature_dtype,
    image_keys=_image_keys(image_db, wanted, folder.image_ids),
  )


def read_contents(
  text_db: str | os.PathLike,
  image_db: str | os.PathLike,
  *,
  max_tokens: int | None = None,
  **wanted: Any,
) -> Contents:
  """Returns captions and image names without opening the image folder.

  Args and errors: see `load_uniter_lmdb`.
  """
  folder = _TextFolder(Path(text_db), None)
  return Contents(
    folder.path.name,
    folder.vocabulary,
    frozenset(
      _image_keys(image_db, lmdb_images.BoxSettings(**wanted), folder.image_ids)
    ),
    frozenset(
      caption.token_ids.tobytes()
      for caption, _ in folder.captions()
      if _is_kept(caption, max_tokens)
    ),
  )


class _TextFolder:
  """An open text folder."""

  def __init__(
    self, folder: Path, vocabulary_file: str | os.PathLike | None
  ) -> None:
    self.path, self._environment = folder, open_folder(folder, 'text')
    self.meta, self._id2len, self._txt2img, img2txts = (
      read_json(folder / f'{name}.json')
      for name in ('meta', 'id2len', 'txt2img', 'img2txts')
    )
    self.vocabulary = _vocabulary(folder, self.meta, vocabulary_file)
    self._numbers = _image_ids(folder, self._txt2img, img2txts)
    self.image_ids = tuple(self._numbers)

  def captions(self) -> Iterator[tuple[Caption, str | None]]:
    """Yields each caption, and its raw text if the record has one."""
    count = len(self._id2len)
    with (
      self._environment.begin() as transaction,
      progress_bar(
        count, f'reading captions of {self.path.name}', 'captions'
      ) as bar,
    ):
      for caption_id in self._id2len:
        name = f'caption {caption_id} of {self.path}'
        record = decode_text(get(transaction, caption_id, name), name)
        image = _image_of(
          record, self._txt2img.get(caption_id), self._numbers, name
        )
        yield (
          _caption(caption_id, record, image, self.vocabulary, name),
          _raw_text(record),
        )
        bar.update(1)


def _is_kept(caption: Caption, max_tokens: int | None) -> bool:
  return max_tokens is None or len(caption.token_ids) <= max_tokens


def _image_keys(
  image_db: str | os.PathLike,
  wanted: lmdb_images.BoxSettings,
  image_ids: tuple[str, ...],
) -> list[tuple[str, str]]:
  store = lmdb_images.key_of_store(Path(image_db), wanted)
  return [(store, name) for name in image_ids]


def _vocabulary(
  folder: Path, meta: dict[str, Any], vocabulary_file: str | os.PathLike | None
) -> Vocabulary:
  path = folder / 'meta.json'
  special: dict[str, Any] = {
    key: meta.get(key) for key in ('UNK', 'CLS', 'SEP', 'MASK')
  }
  special['PAD'] = meta.get('PAD', 0)
  for key, token in special.items():
    if type(token) is not int:
      raise bad(f'{path}: {key}', 'a token id', repr(token), 'write it again')
  span = meta.get('v_range')
  if (
    not isinstance(span, list)
    or [type(i) for i in span] != [int, int]
    or not 0 <= span[0] < span[1]
  ):
    raise bad(
      f'{path}: v_range',
      '[low, high) with 0 <= low < high',
      repr(span),
      'write it again',
    )
  for key, token in special.items():
    if not 0 <= token < span[1]:
      raise bad(
        f'{path}: {key}',
        f'a token id of 0..{span[1] - 1}, as v_range says',
        token,
        'write it again',
      )
  from_meta = Vocabulary(
    size=span[1],
    random_range=(span[0], span[1]),
    tokenizer=_tokenizer_name(meta),
    **{key.lower(): token for key, token in special.items()},
  )
  if vocabulary_file is None:
    return from_meta
  vocabulary = captions_lib.load_vocabulary(vocabulary_file)
  if vocabulary.size != from_meta.size:
    raise bad(
      f'vocabulary {vocabulary_file}',
      f'of {from_meta.size} tokens, as v_range in {path} says',
      vocabulary.size,
      _right_one(meta),
    )
  for key in ('pad', 'unk', 'cls', 'sep', 'mask'):
    if getattr(from_meta, key) != getattr(vocabulary, key):
      raise bad(
        f'vocabulary {vocabulary_file}: id of [{key.upper()}]',
        f'{getattr(from_meta, key)} as in {path}',
        getattr(vocabulary, key),
        _right_one(meta),
      )
  return dataclasses.replace(
    vocabulary,
    random_range=from_meta.random_range,
    tokenizer=from_meta.tokenizer,
  )


def _right_one(meta: dict[str, Any]) -> str:
  name = _tokenizer_name(meta)
  return 'pass the vocabulary that the captions were tokenized with' + (
    f', {name}' if name else ''
  )


def _tokenizer_name(meta: dict[str, Any]) -> str:
  """Returns the name of the tokenizer in meta.json, or ""."""
  return next(
    (meta[key] for key in _TOKENIZER_KEYS if isinstance(meta.get(key), str)), ''
  )


def _check_words(
  read: list[tuple[Caption, str | None]],
  vocabulary_file: str | os.PathLike,
  folder: _TextFolder,
) -> None:
  """Raises UserError if many captions do not decode to their raw texts."""
  known = [caption for caption, raw in read if raw is not None]
  places = np.linspace(0, len(known) - 1, min(_MAX_DECODED, len(known)))
  sample = [known[place] for place in np.round(places).astype(int)]
  others = [
    c
    for c in sample
    if not captions_lib.is_decoding(c.token_ids, c.text, folder.vocabulary)
  ]
  if len(others) <= _MAX_ODD * len(sample):
    return
  first = others[0]
  raise UserError(
    f'vocabulary {vocabulary_file}: {len(others)} of {len(sample)} captions '
    f'of {folder.path} do not decode to their texts: {first.caption_id} '
    f'{first.text[:60]!r} decodes to '
    f'{captions_lib.to_words(first.token_ids, folder.vocabulary)[:60]!r}; '
    f'{_right_one(folder.meta)}'
  )


def _image_ids(
  folder: Path, txt2img: dict[str, Any], img2txts: dict[str, Any]
) -> dict[str, int]:
  """Returns name -> number: img2txts.json's images, then txt2img.json's."""
  for caption_id, image_id in txt2img.items():
    if not isinstance(image_id, str):
      raise bad(
        f'{folder / "txt2img.json"}: image of caption {caption_id}',
        'one name',
        repr(image_id),
        'write it again',
      )
  for image_id, caption_ids in img2txts.items():
    if not isinstance(caption_ids, list):
      raise bad(
        f'{folder / "img2txts.json"}: captions of image {image_id}',
        'a list',
        repr(caption_ids),
        'write it again',
      )
    for caption_id in caption_ids:
      other = txt2img.get(str(caption_id), image_id)
      if other != image_id:
        raise bad(
          f'{folder / "img2txts.json"}: image of caption {caption_id}',
          f'{other} as in txt2img.json',
          image_id,
          'write both files again',
        )
  names = dict.fromkeys([*img2txts, *txt2img.values()])
  return {image_id: number for number, image_id in enumerate(names)}


def _image_of(
  record: dict[str, Any],
  listed: str | None,
  image_ids: dict[str, int],
  name: str,
) -> int:
  """Returns the number of a caption's image; both sources must agree."""
  stored = record.get('img_fname', listed)
  if not isinstance(stored, str) or listed not in (None, stored):
    raise bad(
      f'{name}: img_fname',
      listed or 'the name of its image',
      repr(stored),
      'write the record and txt2img.json again',
    )
  if stored not in image_ids:
    raise bad(
      f'{name}: its image',
      'in txt2img.json or img2txts.json',
      stored,
      'write the JSON files again',
    )
  return image_ids[stored]


def _caption(
  caption_id: str,
  record: dict[str, Any],
  image: int,
  vocabulary: Vocabulary,
  name: str,
) -> Caption:
  stored = record.get('input_ids')
  if (
    not isinstance(stored, list)
    or not stored
    or not all(type(token) is int for token in stored)
  ):
    raise bad(
      f'{name}: input_ids',
      'a list of at least one token id',
      f'{str(stored)[:40]} among {", ".join(map(str, record))}',
      'write the record again',
    )
  for token in stored:
    if not 0 <= token < vocabulary.size:
      raise bad(
        f'{name}: token ids',
        f'0..{vocabulary.size - 1}',
        token,
        'pass the vocabulary that the captions were tokenized with',
      )
  for word in ('pad', 'cls', 'sep', 'mask'):
    token = getattr(vocabulary, word)
    if token in stored:
      raise bad(
        f'{name}: input_ids',
        "the caption's own tokens",
        f'{token} = [{word.upper()}] at position {stored.index(token)}',
        '[CLS], [SEP] and padding are added later: write the records '
        'without them',
      )
  text = _raw_text(record)
  phrases, kinds = phrases_lib.phrases_from_tree(
    record.get('tree'), len(stored), name.removeprefix('caption ')
  )
  return Caption(
    caption_id=caption_id,
    image=image,
    token_ids=np.array(stored, np.int32),
    phrases=phrases,
    text=(captions_lib.to_words(stored, vocabulary) if text is None else text),
    phrase_kinds=kinds,
  )


def _raw_text(record: dict[str, Any]) -> str | None:
  texts = (record.get(key) for key in _TEXT_KEYS)
  return next(
    (text for text in texts if isinstance(text, str) and text.strip()), None
  )


def _compact(captions: list[Caption]) -> list[Caption]:
  """Returns the captions with equal phrases and kinds shared to save memory."""
  shared: dict[tuple[int, ...], tuple[int, ...]] = {}
  share = lambda x: shared.setdefault(x, x)
  return [
    dataclasses.replace(
      caption,
      phrases=tuple(map(share, caption.phrases)),
      phrase_kinds=share(caption.phrase_kinds),
    )
    for caption in captions
  ]
