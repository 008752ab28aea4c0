"""UNITER's LMDB folders -> examples. Nothing else knows this format.

Text folder: data.mdb (caption id -> lz4 frame of msgpack), meta.json,
id2len.json, txt2img.json, img2txts.json. Image folder: data.mdb (file name ->
msgpack with arrays, or a compressed npz), named after how regions were chosen
when it was written, and an nbb json beside it:

  feat_th0.2_max100_min10   max(10, number with confidence > 0.2), at most 100
  feat_numbb36              the first 36
  all, or any other name    not chosen yet; we choose by the rule above

each also with "_compressed". Records are data only: nothing that could run
code when it is read (pickles, object arrays) is accepted.
Reference: data/data.py; differs: a file is opened once per process however
many data sets use it, and the "all" folders can be read.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import phrases as phrases_lib
from tagsdc_jax.data import regions as regions_lib
from tagsdc_jax.data.dataset import Caption
from tagsdc_jax.data.dataset import Regions
from tagsdc_jax.data.dataset import RetrievalDataset
from tagsdc_jax.data.dataset import Vocabulary
from tagsdc_jax.data.lmdb_files import array_of
from tagsdc_jax.data.lmdb_files import bad
from tagsdc_jax.data.lmdb_files import decode_image
from tagsdc_jax.data.lmdb_files import decode_text
from tagsdc_jax.data.lmdb_files import get
from tagsdc_jax.data.lmdb_files import no_data
from tagsdc_jax.data.lmdb_files import open_folder
from tagsdc_jax.data.lmdb_files import read_json

_STORE_NAME = re.compile(
    r"(?:feat_th(?P<conf_threshold>\d+(?:\.\d+)?(?:e-\d+)?)"
    r"_max(?P<max_boxes>\d+)_min(?P<min_boxes>\d+)"
    r"|feat_numbb(?P<num_boxes>\d+)|all)(?P<compressed>_compressed)?")
_DEFAULTS = {"conf_threshold": 0.2, "max_boxes": 100, "min_boxes": 10}
_TEXT_KEYS = ("raw", "sentence", "caption")


@dataclasses.dataclass(frozen=True, slots=True)
class _BoxSettings:
  """What the caller asks of the image folder; None: whatever it is."""
  conf_threshold: float | None = None
  max_boxes: int | None = None
  min_boxes: int | None = None
  num_boxes: int | None = None
  compressed: bool | None = None


def load_uniter_lmdb(
    text_db: str | os.PathLike,
    image_db: str | os.PathLike, *,
    max_tokens: int | None = None,
    vocabulary_file: str | os.PathLike | None = None,
    conf_threshold: float | None = None,
    max_boxes: int | None = None,
    min_boxes: int | None = None,
    num_boxes: int | None = None,
    compressed: bool | None = None) -> RetrievalDataset:
  """Returns one split: all captions decoded, regions read on demand.

  `num_regions` is the number of boxes that the nbb json or the folder's name
  promises: an upper bound, good for sorting and padding; `read_regions` gives
  the true number. Without either every image of the split is read once.

  Args:
    text_db: text folder.
    image_db: image folder, or its parent if the settings below single out
      one folder in it.
    max_tokens: longest caption kept, [CLS] and [SEP] not counted; None keeps
      all. The images of captions left out stay.
    vocabulary_file: vocab.txt for the words; None: only meta.json's ids.
    conf_threshold: regions above this confidence are counted; negative for a
      folder with a fixed number. None: as the folder's name says, else 0.2.
    max_boxes: most regions counted so; None: as the name says, else 100.
    min_boxes: least regions counted so; None: as the name says, else 10.
    num_boxes: regions of a folder with a fixed number; None: as its name says.
    compressed: which of two folders to take where both are there.
  Raises:
    UserError: if a folder, file, key or record is missing or malformed.
  """
  folder = Path(text_db)
  environment = open_folder(folder, "text")
  meta, id2len, txt2img, img2txts = (
      read_json(folder / f"{name}.json")
      for name in ("meta", "id2len", "txt2img", "img2txts"))
  vocabulary = _vocabulary(folder, meta, vocabulary_file)
  image_ids = _image_ids(folder, txt2img, img2txts)
  captions = []
  with environment.begin() as transaction:
    for caption_id in id2len:
      name = f"caption {caption_id} of {folder}"
      record = decode_text(get(transaction, caption_id, name), name)
      image = _image_of(record, txt2img.get(caption_id), image_ids, name)
      captions.append(_caption(caption_id, record, image, vocabulary, name))
  if max_tokens is not None:
    captions = [c for c in captions if len(c.token_ids) <= max_tokens]
  if not captions:
    raise bad(folder / "id2len.json", "the names of captions, at least one of "
              f"at most max_tokens = {max_tokens} tokens",
              f"{len(id2len)} captions, none of them", "raise max_tokens")
  captions_of_image: list[list[int]] = [[] for _ in image_ids]
  for number, caption in enumerate(captions):
    captions_of_image[caption.image].append(number)
  store = _ImageStore(Path(image_db), tuple(image_ids), _BoxSettings(
      conf_threshold, max_boxes, min_boxes, num_boxes, compressed))
  return RetrievalDataset(
      name=folder.name, vocabulary=vocabulary, captions=_compact(captions),
      image_ids=tuple(image_ids),
      captions_of_image=[tuple(group) for group in captions_of_image],
      read_regions=store.read, num_regions=store.num_regions(),
      feature_size=store.feature_size, feature_dtype=store.feature_dtype)


class _ImageStore:
  """Image folder. May be pickled: the copy opens the folder when it reads."""

  def __init__(
      self, folder: Path, image_ids: tuple[str, ...], wanted: _BoxSettings):
    self._folder, self._rule = _find_image_folder(folder, wanted)
    self._image_ids = image_ids
    self._environment = open_folder(self._folder, "image")
    with self._environment.begin() as transaction:
      for image_id in image_ids:
        get(transaction, image_id, self._name(image_id))
    self._limits = self._known_limits()
    first = self._read_unchecked(0)
    regions_lib.check_regions(first, self._name(image_ids[0]))
    self.feature_size = first.features.shape[1]
    self.feature_dtype = first.features.dtype

  def __getstate__(self) -> dict[str, Any]:
    return self.__dict__ | {"_environment": None}

  def read(self, image: int) -> Regions:
    """Returns the regions of an image. Safe to call from threads."""
    regions = self._read_unchecked(image)
    regions_lib.check_regions(
        regions, self._name(self._image_ids[image]), self.feature_size,
        self.feature_dtype)
    return regions

  def num_regions(self) -> np.ndarray:
    """Returns int32 [images], at least as many as `read` will give."""
    if self._limits is not None:
      return self._limits
    images = range(len(self._image_ids))
    return np.array([len(self.read(i).features) for i in images], np.int32)

  def _name(self, image_id: str) -> str:
    return f"image {image_id} of {self._folder}"

  def _read_unchecked(self, image: int) -> Regions:
    name = self._name(self._image_ids[image])
    if self._environment is None:
      self._environment = open_folder(self._folder, "image")
    with self._environment.begin() as transaction:
      value = get(transaction, self._image_ids[image], name)
    record = decode_image(value, name)
    features = array_of(record, "features", name)
    boxes = array_of(record, "norm_bb", name)
    if boxes.ndim != 2 or boxes.shape[1] != 6:
      raise bad(f"{name}: norm_bb", "of shape [regions, 6]",
                list(boxes.shape), "extract the image again")
    limit = len(features)
    if self._limits is not None:
      limit = int(self._limits[image])
    elif self._rule:
      limit = self._count_confident(array_of(record, "conf", name))
    return Regions(features[:limit], regions_lib.make_boxes7(boxes[:limit]))

  def _count_confident(self, confidences: np.ndarray) -> int:
    """Returns how many rows to keep of a folder that holds all of them."""
    # In the stored precision, as the reference compares.
    above = int((confidences > self._rule["conf_threshold"]).sum())
    return min(self._rule["max_boxes"], max(self._rule["min_boxes"], above))

  def _known_limits(self) -> np.ndarray | None:
    """Returns int32 [images], or None where only the records can tell."""
    if "num_boxes" in self._rule:
      return np.full(len(self._image_ids), self._rule["num_boxes"], np.int32)
    name = self._folder.name.removesuffix("_compressed")
    path = self._folder.parent / f"nbb_{name.removeprefix('feat_')}.json"
    if not name.startswith("feat_") or not path.exists():
      return None
    counts = read_json(path)
    for image_id in self._image_ids:
      if type(counts.get(image_id)) is not int or counts[image_id] < 1:
        raise bad(f"{path}: number of boxes of image {image_id}", "at least 1",
                  repr(counts.get(image_id)),
                  "remove the file to have the boxes counted")
    return np.array([counts[i] for i in self._image_ids], np.int32)


def _find_image_folder(
    folder: Path, wanted: _BoxSettings) -> tuple[Path, dict[str, Any]]:
  """Returns the one folder that fits the settings, and its `_rule_of`."""
  folder = Path(os.path.abspath(folder))
  if (folder / "data.mdb").is_file() or not folder.is_dir():
    found = [folder]  # a missing folder is reported when it is opened
  else:
    found = sorted(
        path for path in folder.iterdir()
        if _STORE_NAME.fullmatch(path.name) and (path / "data.mdb").is_file())
  if not found:
    raise no_data(folder, "image")
  rules = [(path, _rule_of(path.name, wanted)) for path in found]
  fitting = [(path, rule) for path, rule in rules if rule is not None]
  if len(fitting) != 1:
    given = ", ".join(
        f"{key} {value}" for key, value in dataclasses.asdict(wanted).items()
        if value is not None) or "none given"
    raise bad(
        f"number of stores in image folder {folder} that fit the settings "
        f"({given})", 1, f"{len(fitting)} of "
        f"{', '.join(path.name for path in found)}",
        "change the settings or give the folder of one store")
  return fitting[0]


def _rule_of(name: str, wanted: _BoxSettings) -> dict[str, Any] | None:
  """Returns how to choose a store's regions, None if it is not as wanted.

  Returns:
    num_boxes; or conf_threshold, max_boxes and min_boxes; or nothing where
    the regions were chosen when the store was written. Choosing by the rounded
    confidences once more could lose a region.
  """
  match = _STORE_NAME.fullmatch(name)
  stored = match.groupdict() if match else {}
  if match and wanted.compressed not in (None, bool(stored["compressed"])):
    return None
  is_fixed = stored.get("num_boxes") is not None
  if wanted.conf_threshold is not None and (
      is_fixed != (wanted.conf_threshold < 0)):
    return None
  rule: dict[str, Any] = {}
  for key in ("num_boxes",) if is_fixed else tuple(_DEFAULTS):
    given = getattr(wanted, key)
    if stored.get(key) is None:
      rule[key] = _DEFAULTS[key] if given is None else given
    elif given in (None, float(stored[key])):
      rule[key] = float(stored[key]) if key == "conf_threshold" else (
          int(stored[key]))
    else:
      return None
  return {} if stored.get("conf_threshold") else rule


def _vocabulary(
    folder: Path, meta: dict[str, Any],
    vocabulary_file: str | os.PathLike | None) -> Vocabulary:
  path = folder / "meta.json"
  for key in ("UNK", "CLS", "SEP", "MASK"):
    if type(meta.get(key)) is not int:
      raise bad(f"{path}: {key}", "a token id", repr(meta.get(key)),
                "write it again")
  span = meta.get("v_range")
  if (not isinstance(span, list) or [type(i) for i in span] != [int, int]
      or not 0 <= span[0] < span[1]):
    raise bad(f"{path}: v_range", "[low, high) with 0 <= low < high",
              repr(span), "write it again")
  from_meta = Vocabulary(
      size=span[1], pad=meta.get("PAD", 0), unk=meta["UNK"], cls=meta["CLS"],
      sep=meta["SEP"], mask=meta["MASK"], random_range=(span[0], span[1]))
  if vocabulary_file is None:
    return from_meta
  vocabulary = captions_lib.load_vocabulary(
      vocabulary_file, random_range=from_meta.random_range)
  for key in ("pad", "unk", "cls", "sep", "mask"):
    if getattr(from_meta, key) != getattr(vocabulary, key):
      raise bad(
          f"vocabulary {vocabulary_file}: id of [{key.upper()}]",
          f"{getattr(from_meta, key)} as in {path}", getattr(vocabulary, key),
          "give the vocabulary that the captions were written with "
          f"({meta.get('toker', 'name not known')})")
  return vocabulary


def _image_ids(
    folder: Path, txt2img: dict[str, Any],
    img2txts: dict[str, Any]) -> dict[str, int]:
  """Returns name -> number: img2txts.json first, then only in txt2img.json."""
  for caption_id, image_id in txt2img.items():
    if not isinstance(image_id, str):
      raise bad(f"{folder / 'txt2img.json'}: image of caption {caption_id}",
                "one name", repr(image_id), "write it again")
  for image_id, caption_ids in img2txts.items():
    if not isinstance(caption_ids, list):
      raise bad(f"{folder / 'img2txts.json'}: captions of image {image_id}",
                "a list", repr(caption_ids), "write it again")
    for caption_id in caption_ids:
      other = txt2img.get(str(caption_id), image_id)
      if other != image_id:
        raise bad(f"{folder / 'img2txts.json'}: image of caption {caption_id}",
                  f"{other} as in txt2img.json", image_id,
                  "write both files again")
  names = dict.fromkeys([*img2txts, *txt2img.values()])
  return {image_id: number for number, image_id in enumerate(names)}


def _image_of(
    record: dict[str, Any], listed: str | None, image_ids: dict[str, int],
    name: str) -> int:
  """Returns the number of the image in txt2img.json and in the record."""
  stored = record.get("img_fname", listed)
  if not isinstance(stored, str) or listed not in (None, stored):
    raise bad(f"{name}: img_fname", listed or "the name of its image",
              repr(stored), "write the record and txt2img.json again")
  if stored not in image_ids:
    raise bad(f"{name}: its image", "in txt2img.json or img2txts.json", stored,
              "write the json files again")
  return image_ids[stored]


def _caption(
    caption_id: str, record: dict[str, Any], image: int,
    vocabulary: Vocabulary, name: str) -> Caption:
  stored = record.get("input_ids")
  if not isinstance(stored, list) or not stored or not all(
      type(token) is int for token in stored):
    raise bad(f"{name}: input_ids", "a list of at least one token id",
              f"{str(stored)[:40]} among {', '.join(map(str, record))}",
              "write the record again")
  for token in stored:
    if not 0 <= token < vocabulary.size:
      raise bad(f"{name}: token ids", f"0..{vocabulary.size - 1}", token,
                "give the vocabulary that the captions were written with")
  texts = [record[key] for key in _TEXT_KEYS
           if isinstance(record.get(key), str)]
  return Caption(
      caption_id=caption_id, image=image,
      token_ids=np.array(stored, np.int32),
      phrases=phrases_lib.phrases_from_tree(
          record.get("tree"), len(stored), name.removeprefix("caption ")),
      text=texts[0] if texts else captions_lib.to_words(stored, vocabulary))


def _compact(captions: list[Caption]) -> list[Caption]:
  """Returns the captions with equal phrases shared, to save memory."""
  shared: dict[tuple[int, ...], tuple[int, ...]] = {}
  return [
      dataclasses.replace(caption, phrases=tuple(
          shared.setdefault(phrase, phrase) for phrase in caption.phrases))
      for caption in captions]
