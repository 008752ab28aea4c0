"""Tables: NegCLIP's tab-separated file and TROHN-Text's comma-separated one."""

import csv
import shlex
from pathlib import Path
from typing import BinaryIO

from tagsdc_jax.negative_files.exports import neighbors, source

# What pandas reads as a missing value, quoted or not.
_MISSING = frozenset(
  {'', '#N/A', '#N/A N/A', '#NA', '-1.#IND', '-1.#QNAN', '-NaN', '-nan'}
  | {'1.#IND', '1.#QNAN', '<NA>', 'N/A', 'NA', 'NULL', 'NaN', 'None', 'n/a'}
  | {'nan', 'null'}
)
# As in the file of NegCLIP.
_NUM_NEIGHBORS = 3


class _Lines:
  """A binary file that takes the lines of csv.writer."""

  def __init__(self, file: BinaryIO) -> None:
    self._file = file

  def write(self, line: str) -> int:
    """Writes a line."""
    # The writer is told that lines end with both characters because it quotes
    # fields that contain one of them; pandas takes either for a line's end.
    return self._file.write((line.removesuffix('\r\n') + '\n').encode())


def _write_negclip(given: source.Source, file: BinaryIO) -> None:
  """Writes NegCLIP's columns, with rows of other pictures as `neg_image`."""
  near = neighbors.Neighbors(
    (row.picture, row.record.text) for row in given.rows('reading', False)
  )
  table = csv.writer(_Lines(file), delimiter='\t')
  table.writerow(['', 'title', 'filepath', 'neg_caption', 'neg_image'])
  for rows in neighbors.batches(enumerate(given.rows())):
    sentences = [(row.record.text, number) for number, row in rows]
    found = near.nearest(sentences, _NUM_NEIGHBORS)
    for (number, row), others in zip(rows, found, strict=True):
      texts = [negative.text for negative in row.negatives]
      table.writerow(
        [
          number,
          row.record.text,
          given.path(row.picture),
          repr(texts),
          repr(others),
        ]
      )


def _read_negclip(given: source.Source, out: Path) -> list[str]:
  lines = [
    'neg_image: rows of other pictures with similar captions (by words), not '
    "of similar pictures as in NegCLIP's own file",
    f'read by NegCLIP with --train-data {shlex.quote(str(out))} --dataset-type '
    "csv --csv-separator $'\\t' --csv-img-key filepath --csv-caption-key title "
    '--csv-hard-captions-key neg_caption',
  ]
  if 'coco/' in given.path(''):
    lines.append(
      'FSC-CLIP removes coco/ from every path; pass its --image-root, or '
      'another name for that folder'
    )
  return lines


def _write_trohn(given: source.Source, file: BinaryIO) -> None:
  table = csv.writer(_Lines(file), quoting=csv.QUOTE_ALL)
  table.writerow(['image_id', 'caption', 'negative_caption'])
  for row in given.rows():
    for negative in row.negatives:
      table.writerow([row.picture, row.record.text, negative.text])


def _read_trohn(given: source.Source, out: Path) -> list[str]:
  return [
    "read by BiVLC's CLIP_fine_tuning.py with --dataset TROHN-Text --img-path "
    f'{shlex.quote(given.images or source.NO_FOLDER)}, if load_dataset in its '
    'CLIP_utils.py gets '
    f"'csv', data_files={{'train': {str(out)!r}, 'validation': ANOTHER}}"
  ]


NEGCLIP = source.Format(
  suffix='.tsv',
  consumer='NegCLIP (vinid/neg_clip) and FSC-CLIP',
  content='tab-separated, a row per caption with a list of negatives',
  lost='scores, edits and all else but the texts; NegCLIP draws one negative '
  'per step',
  write=_write_negclip,
  hints=_read_negclip,
  missing=_MISSING,
)
TROHN = source.Format(
  suffix='.csv',
  consumer="BiVLC's CLIP fine-tuning (TROHN-Text)",
  content='comma-separated, all quoted, a row per negative',
  lost='scores, edits and all else but the texts; a caption stands once per '
  'negative, also in one batch',
  write=_write_trohn,
  hints=_read_trohn,
  missing=_MISSING,
)
