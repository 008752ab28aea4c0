"""Prepares a data set: from files and photos, or from one we read already."""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, settings
from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import dataset, opening, overlaps
from tagsdc_jax.preparing import (
  annotating,
  copying,
  listing,
  making,
  provenance,
  writing,
)
from tagsdc_jax.preparing.captions import reading
from tagsdc_jax.preparing.photos import folder as photo_folder
from tagsdc_jax.preparing.photos import opening as photo_opening
from tagsdc_jax.preparing.photos import store as photo_store
from tagsdc_jax.preparing.regions import conventions, converting, matching
from tagsdc_jax.preparing.regions import opening as region_files
from tagsdc_jax.runs import lock, prepared_page

LOCK = '.prepare.lock'
# Shares above which a count is worth a sentence of its own.
_NOTEWORTHY = 0.01
# Reasons that are printed, of each split; the page has more.
_REASONS = 10
# Photos that are read to learn the number of features.
_SAMPLED_PHOTOS = 8


@dataclasses.dataclass(frozen=True)
class Request:
  """What to prepare, as given on the command line.

  Attributes:
    captions: (split or '', file) each.
    regions: feature file or folder; empty: computed from `photos`.
    regions_kind: a key of `regions.opening.STORES`; None: found by looking.
    photos: folder of the pictures; empty if there is none.
    extractor: how regions are computed, a key of `photos.store.EXTRACTORS`.
    encoder, detector: folder or hub name of its networks; empty: its default.
    vocabulary: vocab.txt or hub name.
    phrases: one of `annotating.PHRASES`.
    validation, test: number or share of pictures to draw, where files do not
      say which.
    seed: of that draw.
    with_restval: whether COCO's restval is part of train.
    max_regions: most regions per picture.
  """

  captions: Sequence[tuple[str, Path]]
  regions: str
  regions_kind: str | None
  photos: str
  extractor: str
  encoder: str
  detector: str
  vocabulary: str
  phrases: str
  validation: float
  test: float
  seed: int
  with_restval: bool
  max_regions: int


@dataclasses.dataclass(frozen=True)
class Work:
  """How it is done; does not change what is written.

  Attributes:
    num_workers: processes.
    part: (i, n): the i-th of n commands that share the work.
    max_left_out: share of the pictures that may be left out.
  """

  num_workers: int
  part: tuple[int, int] = (0, 1)
  max_left_out: float = 0.01


Say = Callable[[str], Any]


def from_files(folder: Path, request: Request, work: Work, say: Say) -> None:
  """Prepares captions with regions from a feature file or from photos.

  Args:
    folder: of the data set; a stopped run is continued.
    request: what to prepare.
    work: how.
    say: called with each line for the user.
  Raises:
    UserError: if something is missing, damaged or does not fit together.
  """
  vocabulary = captions_lib.load_vocabulary(request.vocabulary)
  annotate = annotating.Annotator(request.vocabulary, request.phrases)
  list(annotate([listing.Sentence('', 'a test')]))  # Fail early.
  splits, sources, findings = _read_captions(request, say)
  regions = _open_regions(request)
  if not request.regions:
    # One process has all devices; photos are decoded in threads.
    work = dataclasses.replace(work, num_workers=1)
  say(f'regions: {regions.path}, {len(regions.names):,} pictures')
  for note in getattr(regions, 'notes', ()):
    say(f'regions: {note}')
  tasks, convention = _find_regions(splits, regions, request, work, say)
  if not convention.columns:
    findings.append(str(convention))
  sources += _describe_regions(regions, request)
  plan = writing.Plan(
    tasks,
    making.RecordMaker(
      regions,
      convention,
      annotate,
      request.max_regions,
      settings.Data().max_caption_tokens or 0,
    ),
    _fingerprint(request, vocabulary, sources),
  )
  report = {
    'sources': sources,
    'findings': findings,
    'published': dict(
      zip(
        listing.SPLITS,
        reading.published(_dataset_of(sources), request.with_restval),
      )
    ),
    'photos': os.path.abspath(request.photos) if request.photos else '',
    'choices': {
      'regions': str(convention),
      'phrases': request.phrases,
      'vocabulary': request.vocabulary,
    },
    'label_names': list(getattr(regions, 'label_names', ())),
  }
  _write(folder, plan, vocabulary, report, work, say)


def from_config(
  folder: Path, config: settings.Settings, work: Work, say: Say
) -> None:
  """Prepares a copy of the data that a config reads, with all its captions.

  Args and errors: see `from_files`.
  """
  # Nothing is read twice, and long captions are dropped when they are read.
  source = dataclasses.replace(
    config.data, cache_regions=False, max_caption_tokens=None
  )
  splits = {
    split: opening.open_split(source, split, config.extensions)
    for split in opening.SPLITS
  }
  for other, split in itertools.combinations(opening.SPLITS, 2):
    dataset.check_same_vocabulary(splits[other], splits[split])
  plan = writing.Plan(
    {
      split: [(split, image) for image in range(len(data.image_ids))]
      for split, data in splits.items()
    },
    copying.Copier(splits),
    {'data': {k: str(v) for k, v in dataclasses.asdict(source).items()}},
  )
  report = {
    'sources': [
      {'what': split, 'path': data.name, 'kind': config.data.source}
      for split, data in splits.items()
    ],
    'findings': [],
  }
  # One process: a user's own source may not be picklable.
  work = dataclasses.replace(work, num_workers=1)
  _write(folder, plan, splits['train'].vocabulary, report, work, say)


def _read_captions(
  request: Request, say: Say
) -> tuple[dict[str, list[listing.Picture]], list[Any], list[str]]:
  """Returns the pictures of each split, the sources, and what was noticed."""
  listings = [reading.read(path, split) for split, path in request.captions]
  sources, findings = [], []
  for found, (_, path) in zip(listings, request.captions, strict=True):
    about = provenance.describe(
      'captions',
      found.path,
      found.kind,
      sorted(map(str, path.glob('*.txt'))) if path.is_dir() else [str(path)],
    )
    sources.append(about | {'dataset': found.dataset})
    say(
      f'captions: {found.path}, {found.kind}, {len(found.pictures):,} pictures'
    )
    for count, what in (
      (found.num_empty, 'captions without words'),
      (found.num_bare, 'pictures without captions'),
    ):
      if count:
        findings.append(f'{found.path}: {count:,} {what} were left out.')
  joined = reading.join(listings, request.with_restval)
  drawn = [name for name in ('validation', 'test') if name not in joined]
  splits = reading.assign(
    joined, request.validation, request.test, request.seed
  )
  if drawn:
    say(
      'splits: no file says which pictures are '
      f'{" or ".join(drawn)}, so they were drawn, with --seed {request.seed}: '
      + ', '.join(f'{len(part):,} {name}' for name, part in splits.items())
    )
  differ = reading.compare_published(
    _dataset_of(sources), splits, request.with_restval
  )
  return splits, sources, differ + findings


def _dataset_of(sources: Sequence[Any]) -> str:
  return next((s['dataset'] for s in sources if s.get('dataset')), '')


def _describe_regions(regions: Any, request: Request) -> list[Any]:
  """Returns the feature file as a source; or photos, and what encodes them."""
  if request.regions:
    return [
      provenance.describe(
        'regions', regions.path, regions.kind, regions.sources
      )
    ]
  photos = [os.path.join(request.photos, name) for name in regions.names]
  found = [provenance.describe('photos', request.photos, 'photos', photos)]
  if regions.sources:
    found.append(
      provenance.describe(
        'weights', request.encoder, regions.kind, regions.sources
      )
    )
  return found


def _open_regions(request: Request) -> Any:
  if request.regions:
    return region_files.open_store(request.regions, request.regions_kind)
  return photo_store.open_photos(
    request.photos,
    request.extractor,
    request.encoder or None,
    request.detector or None,
  )


def _find_regions(
  splits: dict[str, list[listing.Picture]],
  regions: Any,
  request: Request,
  work: Work,
  say: Say,
) -> tuple[dict[str, list[making.Task]], conventions.Convention]:
  """Returns the pictures with their names in the store, and its convention.

  Raises:
    UserError: if too many pictures are missing.
  """
  pictures = [p for part in splits.values() for p in part]
  found = matching.match(pictures, regions)
  say(f'regions: {found.line}')
  missing = sum(key is None for key in found.keys)
  _check_left_out(missing, len(pictures), found.line, work)
  paths = _photo_paths(pictures, found.keys, request)
  if request.regions and request.photos:
    pictures = _with_sizes(pictures, paths, request.photos)
  sizes = {
    key: (picture.width, picture.height)
    for key, picture in zip(found.keys, pictures, strict=True)
    if key is not None
  }
  # Of photos it is our own, and encoding many twice would take minutes.
  sample = conventions.SAMPLE if request.regions else _SAMPLED_PHOTOS
  convention = conventions.find(regions, sizes, sample)
  say(f'boxes: {convention}')
  rows = iter(zip(pictures, found.keys, paths, strict=True))
  tasks: dict[str, list[making.Task]] = {}
  for split, part in splits.items():
    number = 0
    tasks[split] = []
    for picture, key, path in itertools.islice(rows, len(part)):
      tasks[split].append(making.Task(picture, key, number, path))
      number += len(picture.sentences)
  return tasks, convention


def _photo_paths(
  pictures: Sequence[listing.Picture],
  keys: Sequence[str | None],
  request: Request,
) -> list[str]:
  """Returns the path of each picture's photo, empty if there is none."""
  if not request.photos:
    return [''] * len(pictures)
  if not request.regions:
    return [key or '' for key in keys]
  names = photo_folder.photo_names(Path(request.photos))
  found = matching.match(pictures, matching.Names(request.photos, names))
  return [key or '' for key in found.keys]


def _with_sizes(
  pictures: Sequence[listing.Picture], paths: Sequence[str], folder: str
) -> list[listing.Picture]:
  """Returns the pictures with the sizes that their photos have."""
  found = []
  for picture, path in zip(pictures, paths, strict=True):
    if path and not picture.width:
      width, height = photo_opening.size_of(Path(folder, path))
      picture = dataclasses.replace(picture, width=width, height=height)
    found.append(picture)
  return found


def _check_left_out(count: int, total: int, reason: str, work: Work) -> None:
  if count > work.max_left_out * total:
    raise errors.UserError(
      f'{count:,} of {total:,} pictures would be left out ({reason}); fix '
      'them, or pass --max-left-out with the share that may be'
    )


def _fingerprint(
  request: Request, vocabulary: dataset.Vocabulary, sources: Sequence[Any]
) -> dict[str, Any]:
  """Returns what decides the bytes that are written."""
  chosen = dataclasses.asdict(request)
  # Files may move; their hashes may not change.
  for key in ('captions', 'regions', 'photos', 'vocabulary', 'encoder'):
    del chosen[key]
  words = '\n'.join(vocabulary.words).encode()
  return (
    chosen
    | {'vocabulary': hashlib.sha256(words).hexdigest()}
    | {
      f'{source["what"]} {place}': source['hash']
      for place, source in enumerate(sources)
    }
  )


def _write(
  folder: Path,
  plan: writing.Plan,
  vocabulary: dataset.Vocabulary,
  report: dict[str, Any],
  work: Work,
  say: Say,
) -> None:
  """Writes what is missing, and describes the data set when all is there."""
  if writing.check_folder(folder, plan.request):
    say(f'{folder} is complete already; only its page is written again')
  else:
    with _held(folder, work):
      if not writing.write_shards(
        folder, plan, work.num_workers, work.part, say
      ):
        say(
          f'{folder}: part {work.part[0] + 1}/{work.part[1]} is done, others '
          'are missing; the one that is done last completes the folder'
        )
        return
      notes = writing.read_notes(folder, plan)
      report = report | _summed(notes)
      _check_all_left_out(report, work)
      report['findings'] += _noteworthy(report, plan.request.get('phrases'))
      writing.finish(folder, plan, notes, vocabulary, {'report': report})
  _tell(folder, say)


@contextmanager
def _held(folder: Path, work: Work) -> Iterator[None]:
  with errors.named(folder):
    folder.mkdir(parents=True, exist_ok=True)
  name = LOCK if work.part[1] == 1 else f'{LOCK}{work.part[0]}'
  remedy = 'wait for it or stop it, or pass another folder'
  with lock.Lock(folder / name, remedy, option='OUT').held():
    yield


def _summed(notes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
  """Returns the counts of each split, and what was left out."""
  counts: dict[str, dict[str, int]] = {}
  left_out = {}
  for split, parts in notes.items():
    total = counts.setdefault(split, {})
    for part in parts:
      for key, value in part['counts'].items():
        total[key] = total.get(key, 0) + value
    reasons = [reason for part in parts for reason in part['left_out']]
    left_out[split] = {
      'count': sum(part['num_left_out'] for part in parts),
      'reasons': reasons[: writing.NAMED],
    }
  return {'counts': counts, 'left_out': left_out}


def _check_all_left_out(report: dict[str, Any], work: Work) -> None:
  left_out = report['left_out'].values()
  count = sum(part['count'] for part in left_out)
  written = sum(c.get('pictures', 0) for c in report['counts'].values())
  if count:
    reason = next(reason for part in left_out for reason in part['reasons'])
    _check_left_out(count, count + written, f'the first: {reason}', work)


def _noteworthy(report: dict[str, Any], phrases: str | None) -> list[str]:
  """Returns sentences on what was left out, changed or looks odd.

  Args:
    report: with counts and what was left out.
    phrases: how they were found; that there are none may be wanted.
  """
  found = []
  for split, part in report['left_out'].items():
    if part['count']:
      found.append(f'{split}: pictures left out: {part["count"]:,}')
      found += part['reasons'][:_REASONS]
  for split, counts in report['counts'].items():
    found += [f'{split}: {line}.' for line in _changes(counts)]
    for key, of, text in (
      ('tokens_unknown', 'tokens', 'tokens are not in the vocabulary'),
      ('captions_bare', 'captions', 'captions have no phrases'),
      (
        'captions_long',
        'captions',
        'captions have more tokens than data.max_caption_tokens; training '
        'drops them',
      ),
      (
        'captions_unusable',
        'captions',
        'captions have no tokens, or [CLS], [SEP], [MASK] or [PAD], and were '
        'left out',
      ),
    ):
      count, total = counts.get(key, 0), counts.get(of, 0)
      if count > _NOTEWORTHY * total and (key, phrases) != (
        'captions_bare',
        'none',
      ):
        found.append(f'{split}: {count:,} of {total:,} {text}.')
  return found


def _changes(counts: dict[str, int]) -> list[str]:
  """Returns what was changed in more than a few regions or pictures."""
  tally = {
    field.name: counts.get(field.name, 0)
    for field in dataclasses.fields(converting.Tally)
  }
  for name in ('clipped', 'dropped', 'cut', 'swapped', 'reordered'):
    of = 'pictures' if name == 'reordered' else 'regions'
    if tally[name] <= _NOTEWORTHY * tally[of]:
      tally[name] = 0  # The page has it.
  return converting.Tally.from_json(tally).lines()


def _tell(folder: Path, say: Say) -> None:
  """Prints what the data set contains, and writes its page."""
  from tagsdc_jax.data.prepared import dataset as prepared

  report = prepared.read_metadata(folder).get('report') or {}
  for split, counts in (report.get('counts') or {}).items():
    say(
      f'{split}: {counts.get("pictures", 0):,} pictures, '
      f'{counts.get("captions", 0):,} captions, '
      f'{counts.get("regions", 0):,} regions'
    )
  splits: dict[str, dataset.RetrievalDataset] = {}
  shared: list[str] = []
  for split, size in prepared.split_sizes(folder).items():
    if not size:
      continue
    splits[split] = prepared.load_prepared(folder, split)
    for other in list(splits)[:-1]:
      if found := overlaps.find(
        split, splits[split], other, dataset.contents_of(splits[other])
      ):
        shared.append(str(found))
  for line in [*(report.get('findings') or ()), *shared]:
    say(line)
  say(f'page: {prepared_page.write_page(folder, shared)}')
