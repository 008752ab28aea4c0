"""Our own file of negatives, as `tagsdc generate` writes it."""

import json
from pathlib import Path

from tagsdc_jax.foil_files import records
from tagsdc_jax.negative_files import records as negative_records

FAMILY = 'generated negatives'


def looks(path: Path) -> bool:
  """Returns whether the first line of a file is the header of negatives."""
  try:
    with open(path, 'rb') as file:
      header = json.loads(file.readline(1 << 26))
  except (OSError, ValueError, RecursionError):
    return False
  return (
    isinstance(header, dict) and header.get('format') == negative_records.FORMAT
  )


def read(path: Path) -> records.FoilFile:
  """Returns an item per negative; the kind is that of its edits.

  Raises:
    UserError: if the file is damaged, or of another version.
  """
  collector = records.Collector(path, FAMILY)
  for caption in negative_records.File(path):
    names = tuple(filter(None, (caption.image_id, caption.path)))
    if not caption.text.strip():
      collector.leave_out('no_text')
      continue
    for number, negative in enumerate(caption.negatives):
      collector.add(
        records.Item(
          f'{caption.caption_id}-{number}',
          negative.kind,
          (caption.text,),
          (negative.text,),
          names,
        )
      )
  return collector.file()
