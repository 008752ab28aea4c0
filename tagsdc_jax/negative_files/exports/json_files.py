"""JSON files: SugarCrepe's, one per kind of edit, and DeGLA's."""

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tagsdc_jax import errors
from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import encoding, source

_SHORT = {'object': 'obj', 'attribute': 'att', 'relation': 'rel'}
# What SugarCrepe's main_eval.py opens.
_OPENED = (
  'add_obj',
  'add_att',
  'replace_obj',
  'replace_att',
  'replace_rel',
  'swap_obj',
  'swap_att',
)
# Negatives that DeGLA uses of each caption, and the pictures it opens.
_USED = 4
_NAME = 'COCO_train2014_%012d.jpg'


def _write_sugarcrepe(given: source.Source, folder: Path) -> None:
  """Writes a dict with the keys "0", "1", ... per kind of edit."""
  files: dict[str, BinaryIO] = {}
  counts: dict[str, int] = {}
  with contextlib.ExitStack() as stack:
    for row in given.rows():
      for negative in row.negatives:
        name = kind_of(row.record.text, negative)
        number = counts.get(name, 0)
        if not number:
          files[name] = stack.enter_context(open(folder / f'{name}.json', 'wb'))
        counts[name] = number + 1
        entry = {
          'filename': row.picture,
          'caption': row.record.text,
          'negative_caption': negative.text,
        }
        begin = f'{"," if number else "{"}\n"{number}": '
        files[name].write(f'{begin}{encoding.to_json(entry)}'.encode())
    for name, file in files.items():
      file.write(b'\n}\n')
      given.count(f'{name}.json', 'negatives', counts[name])


def kind_of(caption: str, negative: records.Negative) -> str:
  """Returns SugarCrepe's name for a kind of negative, e.g. "replace_obj".

  A negative with the caption's words in another order is a swap. Edits of
  words that are in no phrase are "token", edits of different kinds "several".
  """
  is_swap = source.is_swap(caption, negative)
  kind = negative.kind
  if is_swap and kind == records.SEVERAL:
    # Words between swapped phrases of unequal length have moved.
    kinds = {edit.kind for edit in negative.edits} - {records.TOKEN}
    kind = kinds.pop() if len(kinds) == 1 else kind
  return f'{"swap" if is_swap else "replace"}_{_SHORT.get(kind, kind)}'


def _read_sugarcrepe(given: source.Source, out: Path) -> list[str]:
  there = {verb for verb, _ in given.counts}
  missing = [name for name in _OPENED if f'{name}.json' not in there]
  lines = (
    [
      f'main_eval.py also opens {", ".join(missing)}, which are not there; '
      'take them out of its data_dict'
    ]
    if missing
    else []
  )
  folder = given.images or source.NO_FOLDER
  return [
    *lines,
    f"read by SugarCrepe's main_eval.py with --data_root "
    f'{shlex.quote(str(out))} --coco_image_root {shlex.quote(folder)}',
  ]


def _write_degla(given: source.Source, file: BinaryIO) -> None:
  """Writes at least four negatives per caption; fewer are repeated."""
  numbers: dict[int, str] = {}

  def entries() -> Iterable[dict[str, Any]]:
    for row in given.rows():
      number = _number_of(row.picture)
      other = numbers.setdefault(number, row.picture)
      if other != row.picture:
        raise errors.UserError(
          f'DeGLA finds pictures by their number, and {other} and '
          f'{row.picture} both have {number}; export another format'
        )
      if PurePosixPath(row.picture).name != _NAME % number:
        given.count(
          'not found by DeGLA',
          f'captions whose picture is not named as {_NAME % 9}',
        )
      texts = [negative.text for negative in row.negatives]
      if len(texts) < _USED:
        given.count(
          'repeated', f"captions' negatives, which were fewer than {_USED}"
        )
      given.count(
        'not used by DeGLA',
        f'negatives after the first {_USED} of their caption',
        max(len(texts) - _USED, 0),
      )
      yield {
        'image_id': number,
        'original': row.record.text,
        'enhanced': list(
          itertools.islice(itertools.cycle(texts), max(_USED, len(texts)))
        ),
      }

  encoding.write_list(file, entries())


def _number_of(picture: str) -> int:
  """Returns the number at the end of a picture's name.

  Raises:
    UserError: if there is none.
  """
  found = re.search(r'([0-9]+)$', PurePosixPath(picture).stem)
  if not found:
    raise errors.UserError(
      'DeGLA finds pictures by the number at the end of their name, such as '
      f'{_NAME % 9}, but one is named {picture!r}; export another format'
    )
  return int(found[1])


def _read_degla(given: source.Source, out: Path) -> list[str]:
  del given
  return [
    f"read by DeGLA's main.py with --dataset-type DeGLA --neg_text {_USED} "
    f'--train-data {shlex.quote(str(out))}, and the folder above train2014 as '
    'COCO_DATASET_ROOT in its training/data.py'
  ]


SUGARCREPE = source.Format(
  consumer='evaluators of SugarCrepe',
  content='a folder with replace_obj.json, swap_att.json and so on, each a '
  'dict of filename, caption and negative_caption',
  lost='scores and the places of the edits',
  write=_write_sugarcrepe,
  hints=_read_sugarcrepe,
  is_folder=True,
)
DEGLA = source.Format(
  suffix='.json',
  consumer='DeGLA',
  content=f'a JSON list of image_id, original, enhanced (at least {_USED})',
  lost='scores, edits and all else but the texts; the path of the picture, of '
  'which only the number is kept',
  write=_write_degla,
  hints=_read_degla,
)
