"""Writes a prepared data set in shards that a killed run continues.

A shard is the records of 256 consecutive pictures, whoever writes it and in
whatever order: files do not depend on the number of workers. Each is written
under a hidden name, renamed, and then noted in the folder `.parts`; the
description of the data set is written when all are there.
"""

import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Protocol

from tagsdc_jax import errors, files
from tagsdc_jax.data import dataset
from tagsdc_jax.data import regions as regions_lib
from tagsdc_jax.preparing.regions import store
from tagsdc_jax.runtime import progress

PARTS = '.parts'
_SHARD = 256
_REQUEST = 'request.json'
_DONE = 'dataset_info.json'
# Reasons that are kept for the report, of each split.
NAMED = 20


class Maker(Protocol):
  """Makes records. Can be pickled."""

  @property
  def feature_size(self) -> int:
    """F, the numbers per region."""

  def __call__(
    self, pictures: Sequence[Any], made: Callable[[int], Any], /
  ) -> Iterator[tuple[Any, dict[str, int]]]:
    """Yields a `schema.Record` or an `Unreadable`, and counts, per picture.

    Args:
      pictures: of one shard.
      made: called with the number of pictures whenever some are done.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is written.

  Attributes:
    pictures: of each split, in order; what `make` takes.
    make: makes their records.
    request: JSON that tells whether a stopped run is the same as this one.
  """

  pictures: Mapping[str, Sequence[Any]]
  make: Maker
  request: dict[str, Any]

  def shards(self) -> list[tuple[str, int, int]]:
    """Returns split, number and number of shards of all shards."""
    return [
      (split, number, count)
      for split, pictures in self.pictures.items()
      for count in [-(-len(pictures) // _SHARD)]
      for number in range(count)
    ]


def check_folder(folder: Path, request: dict[str, Any]) -> bool:
  """Returns whether a folder already holds the finished data set.

  Raises:
    UserError: if it holds something else.
  """
  with errors.named(folder):
    names = set(os.listdir(folder)) if folder.exists() else set()
  known = folder / PARTS / _REQUEST
  if (folder / _DONE).is_file():
    from tagsdc_jax.data.prepared import dataset as prepared

    before = prepared.read_metadata(folder).get('request') or {}
  elif known.is_file():
    before = json.loads(known.read_text('utf-8'))
  elif {name for name in names if not name.startswith('.prepare.lock')}:
    raise errors.UserError(
      f'{folder} is not empty and is not a prepared data set; pass a new folder'
    )
  else:
    return False
  # As JSON has it: tuples are lists.
  now = json.loads(json.dumps(request))
  if before != now:
    differ = sorted(
      key for key in {*before, *now} if before.get(key) != now.get(key)
    )
    changes = '; '.join(
      f'{key}: {_shown(before.get(key))}, now {_shown(now.get(key))}'
      for key in differ
    )
    raise errors.UserError(
      f'{folder} was prepared with other arguments ({changes}); pass a new '
      'folder, or the same arguments'
    )
  return (folder / _DONE).is_file()


def _shown(value: Any) -> str:
  text = str(value)
  return text if len(text) < 60 else f'{text[:60]}...'


def write_shards(
  folder: Path,
  plan: Plan,
  num_workers: int,
  part: tuple[int, int] = (0, 1),
  say: Callable[[str], Any] = lambda line: None,
) -> bool:
  """Writes the shards that are missing; returns whether all are there now.

  Args:
    folder: of the data set; created if missing.
    plan: what to write.
    num_workers: processes.
    part: (i, n): only every n-th shard from the i-th, for several machines.
    say: called with a line if work of an earlier run is continued.
  Raises:
    UserError: if the file system refuses or a source is damaged.
  """
  shards = plan.shards()
  with errors.named(folder):
    for path in (folder / PARTS, folder / _captions_folder()):
      path.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / PARTS / _REQUEST, plan.request)
    done = [shard for shard in shards if _note(folder, shard).is_file()]
  missing = [shard for shard in shards[part[0] :: part[1]] if shard not in done]
  size = lambda shard: len(_pictures(plan, shard))
  already = sum(map(size, done))
  if already:
    say(
      f'continuing: {already:,} of {sum(map(size, shards)):,} pictures are done'
    )
  with progress.progress_bar(
    already + sum(map(size, missing)), 'preparing', 'pictures', initial=already
  ) as bar:
    # Of a small data set, starting processes would take longer than the work.
    workers = min(num_workers, sum(map(size, missing)) // _SHARD)
    if workers > 1:
      _write_in_processes(folder, plan, missing, workers, bar.update)
    else:
      for shard in missing:
        _write_records(
          folder, plan.make, _pictures(plan, shard), shard, bar.update
        )
  return all(_note(folder, shard).is_file() for shard in shards)


def read_notes(folder: Path, plan: Plan) -> dict[str, list[dict[str, Any]]]:
  """Returns the notes of all shards of each split, in order."""
  notes: dict[str, list[dict[str, Any]]] = {
    split: [] for split in plan.pictures
  }
  for shard in plan.shards():
    text = _note(folder, shard).read_text('utf-8')
    notes[shard[0]].append(json.loads(text))
  return notes


def finish(
  folder: Path,
  plan: Plan,
  notes: dict[str, list[dict[str, Any]]],
  vocabulary: dataset.Vocabulary,
  metadata: dict[str, Any],
) -> None:
  """Describes the data set and removes what is only needed to continue.

  Args:
    folder: with all shards.
    plan: what was written.
    notes: from `read_notes`.
    vocabulary: of the captions.
    metadata: JSON stored in the data set, besides its vocabulary.
  """
  from tagsdc_jax.data.prepared import schema

  fields = dataclasses.asdict(vocabulary)
  words = fields.pop('words')
  about = metadata | {'vocabulary': fields, 'request': plan.request}
  if words:
    files.write_bytes(
      folder / schema.VOCABULARY_FILE, ''.join(f'{w}\n' for w in words).encode()
    )
  # The folder itself last: it is what tells that the data set is whole.
  for path in (folder / schema.CAPTIONS_FOLDER, folder):
    _describe(path, plan, notes, about, with_regions=path == folder)
  shutil.rmtree(folder / PARTS)


def _describe(
  folder: Path,
  plan: Plan,
  notes: dict[str, list[dict[str, Any]]],
  about: dict[str, Any],
  with_regions: bool,
) -> None:
  import tensorflow_datasets as tfds

  from tagsdc_jax.data.prepared import schema

  template = functools.partial(
    tfds.core.ShardedFileTemplate,
    data_dir=folder,
    template=schema.TEMPLATE,
    dataset_name=schema.NAME,
    filetype_suffix='array_record',
  )
  splits = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=[note['records'] for note in shards],
      num_bytes=sum(
        note['bytes' if with_regions else 'caption_bytes'] for note in shards
      ),
      filename_template=template(split=split),
    )
    for split, shards in notes.items()
    if shards
  ]
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name=schema.NAME,
      version=tfds.core.Version(schema.VERSION),
      data_dir=os.fspath(folder),
      module_name='',
    ),
    features=schema.features_of(plan.make.feature_size, with_regions),
    description='Captions and region features, prepared for tagsdc_jax.',
    metadata=tfds.core.MetadataDict(about),
    disable_shuffling=True,
  )
  info.set_file_format('array_record')
  info.set_splits(tfds.core.SplitDict(splits))
  info.write_to_directory(folder)


def _write_in_processes(
  folder: Path,
  plan: Plan,
  shards: Iterable[tuple[str, int, int]],
  num_workers: int,
  update: Callable[[int], Any],
) -> None:
  # Each has a core: threads of libraries would wait for one another.
  os.environ.setdefault('OMP_NUM_THREADS', '1')
  with contextlib.ExitStack() as stack:
    pool = futures.ProcessPoolExecutor(
      num_workers,
      mp_context=multiprocessing.get_context('spawn'),
      initializer=_start_worker,
      initargs=(folder, plan.make),
    )
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    tasks = {
      pool.submit(_write_as_worker, _pictures(plan, shard), shard): shard
      for shard in shards
    }
    for task in futures.as_completed(tasks):
      task.result()
      update(len(_pictures(plan, tasks[task])))


# What a worker process was started with.
_worker: dict[str, Any] = {}


def _start_worker(folder: Path, make: Maker) -> None:
  # Ctrl-C reaches all processes of a terminal; the first one handles it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  parent = multiprocessing.parent_process()
  if parent is not None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
  _worker.update(folder=folder, make=make)


def _end_with(parent: Any) -> None:
  parent.join()
  os._exit(1)


def _write_as_worker(
  pictures: Sequence[Any], shard: tuple[str, int, int]
) -> None:
  _write_records(
    _worker['folder'], _worker['make'], pictures, shard, lambda count: None
  )


def _write_records(
  folder: Path,
  make: Maker,
  pictures: Sequence[Any],
  shard: tuple[str, int, int],
  update: Callable[[int], Any],
) -> None:
  """Writes a shard of both data sets, and then its note."""
  from array_record.python import array_record_module

  from tagsdc_jax.data.prepared import schema

  split, number, count = shard
  name = f'{schema.NAME}-{split}.array_record-{number:05d}-of-{count:05d}'
  targets = (folder / name, folder / schema.CAPTIONS_FOLDER / name)
  partial = tuple(path.with_name(f'.{path.name}.partial') for path in targets)
  serialize = schema.Serializer(make.feature_size)
  note: dict[str, Any] = {
    'records': 0,
    'bytes': 0,
    'caption_bytes': 0,
    'counts': {},
    'left_out': [],
    'num_left_out': 0,
  }
  with errors.named(folder):
    writers = [
      array_record_module.ArrayRecordWriter(
        os.fspath(path), schema.WRITER_OPTIONS
      )
      for path in partial
    ]
    for record, counts in make(pictures, update):
      for key, value in counts.items():
        note['counts'][key] = note['counts'].get(key, 0) + value
      if isinstance(record, store.Unreadable):
        note['num_left_out'] += 1
        note['left_out'] += [record.reason][: NAMED - len(note['left_out'])]
        continue
      regions_lib.check_regions(
        dataset.Regions(record.features, regions_lib.make_boxes7(record.boxes)),
        f'image {record.image_id}',
        make.feature_size,
      )
      whole, part = serialize(record)
      for writer, content in zip(writers, (whole, part), strict=True):
        writer.write(content)
      note['records'] += 1
      note['bytes'] += len(whole)
      note['caption_bytes'] += len(part)
    for writer in writers:
      writer.close()
    for path, target in zip(partial, targets, strict=True):
      os.replace(path, target)
    files.write_json(_note(folder, shard), note)


def _pictures(plan: Plan, shard: tuple[str, int, int]) -> Sequence[Any]:
  split, number, _ = shard
  return plan.pictures[split][number * _SHARD : (number + 1) * _SHARD]


def _note(folder: Path, shard: tuple[str, int, int]) -> Path:
  return folder / PARTS / f'{shard[0]}-{shard[1]:05d}.json'


def _captions_folder() -> str:
  from tagsdc_jax.data.prepared import schema

  return schema.CAPTIONS_FOLDER
