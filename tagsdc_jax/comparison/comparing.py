"""Runs all comparisons of a folder and reports what none of them covers."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tagsdc_jax import errors
from tagsdc_jax.comparison import (
  evaluation,
  forward,
  gradients,
  hard_negatives,
  head_init,
  items,
  masking,
  metrics,
  optimizer,
  readers,
  synthetic,
  trajectories,
  weights,
)
from tagsdc_jax.comparison.recordings import MANIFEST, Missing, Recordings

# Yields one item per comparison. All reads go through `Recordings`, which notes
# what was read and so what was not.
Comparison = Callable[[Recordings], Iterator[items.Item]]
Progress = Callable[[int], None]  # Takes the number of files just completed.

FILES: dict[str, Comparison] = {
  forward.FILE: forward.compare,
  optimizer.FILE: optimizer.compare,
  metrics.FILE: metrics.compare,
  masking.FILE: masking.compare,
  readers.FILE: readers.compare,
  head_init.FILE: head_init.compare,
  evaluation.FILE: evaluation.compare,
  hard_negatives.FILE: hard_negatives.compare,
  synthetic.FILES['tags']: synthetic.compare_stage1,
  synthetic.FILES['dc']: synthetic.compare_stage2,
  gradients.FILE: gradients.compare,
  **{file: trajectories.make_comparison(file) for file in trajectories.FILES},
}
_DOCUMENTS = (MANIFEST, 'README.md')
_FLOAT64, _REST = 'f64/', 'the rest of the file'


def compare(
  recordings: Recordings, progress: Progress = lambda files: None
) -> list[items.Item]:
  """Returns the items of all comparisons of a folder.

  Args:
    recordings: the opened folder.
    progress: called after every file.
  """
  found: list[items.Item] = []
  for name in recordings.manifest['files']:
    found += _compare_file(recordings, name)
    progress(1)
  return [*found, *weights.compare(recordings), *_other_files(recordings)]


def all_hold(found: list[items.Item]) -> bool:
  """Returns whether at least one item holds and none fails or is missing."""
  return any(item.holds for item in found) and not any(
    item.holds is False for item in found
  )


def _compare_file(recordings: Recordings, name: str) -> Iterator[items.Item]:
  if not (recordings.folder / name).is_file():
    yield items.Item(
      name,
      'the file',
      items.MISSING,
      note=f'listed in {MANIFEST}, not in the folder',
    )
    return
  if name not in FILES:
    yield items.Item(
      name,
      'the file',
      items.UNKNOWN,
      note='there is no comparison for this file',
    )
    return
  yield from _as_listed(name, recordings)
  try:
    yield from FILES[name](recordings)
  except Missing as error:
    yield items.Item(name, _REST, items.MISSING, note=str(error))
    return
  except errors.UserError as error:
    yield items.Item(name, _REST, items.FAILS, note=str(error))
    return
  except (ValueError, TypeError, IndexError, KeyError) as error:
    # Mismatched shapes and the like. The file fails, but the other files are
    # still compared.
    yield items.Item(
      name, _REST, items.FAILS, note=f'{type(error).__name__}: {error}'
    )
    return
  yield from _not_asked_for(name, recordings)


def _as_listed(name: str, recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for arrays that differ from the manifest's description."""
  listed, there = recordings.entry(name)['keys'], recordings.arrays(name)
  for key, entry in listed.items():
    if key not in there:
      yield items.Item(
        name, key, items.MISSING, note=f'listed in {MANIFEST}, not in the file'
      )
      continue
    wanted = list(entry.get('shape', [])), entry.get('dtype')
    array = there.peek(key)
    actual = list(array.shape), str(array.dtype)
    if 'shape' in entry and wanted != actual:
      yield items.Item(
        name,
        key,
        items.FAILS,
        note=f'{actual[1]} {actual[0]}, but {MANIFEST} says '
        f'{wanted[1]} {wanted[0]}',
      )


def _not_asked_for(name: str, recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for the arrays of a file that its comparison did not read."""
  unused = recordings.arrays(name).unused()
  if not recordings.x64:
    float64 = [key for key in unused if key.startswith(_FLOAT64)]
    unused = [key for key in unused if key not in float64]
    if float64:
      yield items.Item(
        name,
        f'{_FLOAT64}...',
        items.SKIPPED,
        note=f'{len(float64)} arrays; --x64 compares them',
      )
  for key in unused:
    yield items.Item(
      name, key, items.UNKNOWN, note='no comparison reads this array'
    )


def _other_files(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for other files that are missing, unlisted or not read."""
  folder, manifest = recordings.folder, recordings.manifest
  others = manifest.get('other_files', {})
  for name in others:
    if not (folder / name).exists():
      yield items.Item(
        name,
        'the file',
        items.MISSING,
        note=f'listed in {MANIFEST}, not in the folder',
      )
    elif name not in recordings.used:
      yield items.Item(
        name, 'the file', items.UNKNOWN, note='no comparison reads this file'
      )
  listed = {*manifest['files'], *others, *_DOCUMENTS}
  for name in _unlisted(folder, '', listed):
    yield items.Item(
      name, 'all of it', items.UNKNOWN, note=f'not listed in {MANIFEST}'
    )


def _unlisted(folder: Path, prefix: str, listed: set[str]) -> Iterator[str]:
  """Yields the names of unlisted files, and of folders without listed files."""
  for path in sorted((folder / prefix).iterdir()):
    name = path.relative_to(folder).as_posix()
    if name in listed:
      continue
    if any(other.startswith(f'{name}/') for other in listed):
      yield from _unlisted(folder, name, listed)
    else:
      yield name
