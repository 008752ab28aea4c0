"""Writes a file of negatives in the format of a training or a benchmark."""

import dataclasses
import os
from pathlib import Path
from typing import BinaryIO

from tagsdc_jax import errors, files
from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import (
  cs_clip,
  json_files,
  json_lines,
  source,
  tables,
  tars,
)

# Name, as users give it -> the format.
FORMATS: dict[str, source.Format] = {
  'negclip': tables.NEGCLIP,
  'sentence-transformers': json_lines.SENTENCE_TRANSFORMERS,
  'ms-swift': json_lines.MS_SWIFT,
  'trl-dpo': json_lines.TRL_DPO,
  'sugarcrepe': json_files.SUGARCREPE,
  'degla': json_files.DEGLA,
  'cs-clip': cs_clip.CS_CLIP,
  'trohn': tables.TROHN,
  'mmeb': json_lines.MMEB,
  'tripletclip': tars.TRIPLETCLIP,
  'webdataset': tars.WEBDATASET,
}


@dataclasses.dataclass(frozen=True)
class Report:
  """What was written.

  Attributes:
    num_captions, num_negatives: as the reader will find them.
    lines: for the user: what was written and left out, and how to read it.
  """

  num_captions: int
  num_negatives: int
  lines: tuple[str, ...]


def check_options(name: str, options: source.Options) -> None:
  """Raises UserError if a format cannot be written with these options.

  Args:
    name: a key of FORMATS.
    options: what the user chose.
  """
  form, number = FORMATS[name], options.per_caption
  if options.images and not os.path.isdir(options.images):
    raise errors.UserError(
      f'--images {options.images} is not a folder; pass the folder of the '
      'pictures'
    )
  if number is not None and form.most is not None and number > form.most:
    raise errors.UserError(
      f'{form.consumer} takes at most {form.most} negatives per caption, got '
      f'--per-caption {number}; pass a smaller number'
    )


def check(
  out: Path, name: str, options: source.Options = source.Options()
) -> None:
  """Raises UserError if a format cannot be written; call it before the work.

  Args:
    out: file or folder, as the format has it.
    name: a key of FORMATS.
    options: what the user chose.
  """
  check_options(name, options)
  form = FORMATS[name]
  if (
    form.is_suffix_read
    and not out.name.endswith(form.suffix)
    and not files.is_stdout(out)
  ):
    raise errors.UserError(
      f'{form.consumer} goes by the suffix of a file, which must be '
      f'{form.suffix}, got {out.name}; pass another name'
    )
  if form.is_folder and out.exists():
    with errors.named(out):
      is_empty = out.is_dir() and not any(out.iterdir())
    if not is_empty:
      raise errors.UserError(
        f'{out} already exists, and {name} is written to a new folder; remove '
        'it, or pass another path'
      )
  else:
    files.check_target(out)


def write(
  file: records.File,
  out: Path,
  name: str,
  options: source.Options = source.Options(),
) -> Report:
  """Writes a format, whole or not at all.

  The file of negatives is read once or several times, never held in memory;
  equal files give equal bytes.

  Args:
    file: the file of negatives.
    out: an existing file is replaced, a folder must be new or empty.
    name: a key of FORMATS.
    options: what the user chose.
  Raises:
    UserError: if the file is damaged, has nothing that the format can hold, or
      pictures are missing that the format contains; or the file system refuses.
  """
  form = FORMATS[name]
  check(out, name, options)
  files.check_different({'the file of negatives': file.path, 'OUT': out})
  given = source.Source(file, form, options)
  if form.opens_pictures:
    _check_pictures(given, name)
  try:
    if form.is_folder:
      with files.whole_folder(out) as folder:
        folder.mkdir()
        _write(given, form, folder, name)
    else:
      files.write_whole(out, lambda stream: _write(given, form, stream, name))
  except UnicodeEncodeError as error:
    raise source.bad_text(file, error) from error
  return Report(
    given.num_captions,
    given.num_negatives,
    (
      f'wrote {out} for {form.consumer}: {given.num_captions:,} captions, '
      f'{given.num_negatives:,} negatives',
      *(
        f'{verb}: {number:,} {what}'
        for (verb, what), number in sorted(given.counts.items())
      ),
      *_picture_lines(given, form),
      f'not in this format: {form.lost}',
      *form.hints(given, out),
    ),
  )


def _write(
  given: source.Source, form: source.Format, place: BinaryIO | Path, name: str
) -> None:
  """Writes what there is.

  Raises:
    UserError: if there is nothing.
  """
  form.write(given, place)
  if not given.num_captions:
    reasons = ', '.join(
      f'{number:,} {what}' for (_, what), number in sorted(given.counts.items())
    )
    raise errors.UserError(
      f'{given.file.path} has nothing for {name}'
      + (
        f': {reasons}; pass a smaller --per-caption, or generate more '
        'negatives per caption'
        if reasons
        else '; generate negatives of more captions'
      )
    )


def _check_pictures(given: source.Source, name: str) -> None:
  """Raises UserError if pictures are missing, before anything is written."""
  missing, first, last = 0, '', ''
  for row in given.rows('looking for the pictures of', False):
    if row.picture != last and not os.path.isfile(given.path(row.picture)):
      missing, first = missing + 1, first or given.path(row.picture)
    last = row.picture
  if missing:
    raise errors.UserError(
      f'{name} contains the pictures, but {missing:,} are missing, the first '
      f'is {first}; pass --images with their folder'
    )


def _picture_lines(given: source.Source, form: source.Format) -> list[str]:
  """Returns lines on paths of pictures that will not be found."""
  lines = []
  if given.num_without_path:
    lines.append(
      f'without a path: the pictures of {given.num_without_path:,} captions; '
      'their image ids stand for it'
    )
  if given.num_missing:
    lines.append(
      f'missing: the pictures of {given.num_missing:,} captions, the first is '
      f'{given.first_missing}; {form.without_pictures}; pass --images with '
      'their folder'
    )
  elif (
    given.images and not os.path.isabs(given.images) and not form.opens_pictures
  ):
    lines.append(
      f'paths are relative to {os.getcwd()}; start the reader there, or pass '
      '--images with a full path'
    )
  return lines
