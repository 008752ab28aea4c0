"""The result of one comparison: its verdict, errors and tolerance."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

# Compared and within bounds; out of bounds; expected but absent; present but
# unknown; present but not compared in this run.
HOLDS, FAILS, MISSING, UNKNOWN, SKIPPED = VERDICTS = (
  'holds',
  'FAILS',
  'missing',
  'unknown',
  'skipped',
)


@dataclasses.dataclass(frozen=True)
class Item:
  """One line of the table.

  Attributes:
    file: of the recordings, e.g. "forward.npz".
    name: what is compared; starts with the recorded array's name.
    verdict: one of VERDICTS.
    variant: the behavior compared, `as_released` or `fixed`; '' where both
      agree.
    max_abs: largest absolute error.
    max_rel: max_abs divided by the largest recorded value.
    tolerance: the allowed errors, in words.
    note: further remarks.
  """

  file: str
  name: str
  verdict: str
  variant: str = ''
  max_abs: float | None = None
  max_rel: float | None = None
  tolerance: str = ''
  note: str = ''

  @property
  def holds(self) -> bool | None:
    """Whether our result matches the recording; None if not compared."""
    return {HOLDS: True, FAILS: False, MISSING: False}.get(self.verdict)


def close(
  file: str,
  name: str,
  ours: Any,
  theirs: Any,
  *,
  atol: float = 0.0,
  rtol: float | None = None,
  variant: str = '',
  note: str = '',
) -> Item:
  """Compares numbers with one tolerance for all.

  Args:
    file: of the recordings.
    name: what is compared.
    ours: our result.
    theirs: the recorded array, of the same shape.
    atol: largest absolute error allowed.
    rtol: if given, errors up to this share of the largest recorded value are
      allowed as well.
    variant: the behavior compared.
    note: shown next to the verdict.
  """
  tolerance = ' or '.join(
    [f'{atol:.3g}'] * (rtol is None or atol > 0)
    + ([] if rtol is None else [f'{rtol:.3g} rel.'])
  )
  errors = _errors(ours, theirs)
  if errors is None:
    return Item(
      file,
      name,
      FAILS,
      variant,
      tolerance=tolerance,
      note=_shapes(ours, theirs),
    )
  max_abs, max_rel = errors
  holds = max_abs <= atol or (rtol is not None and max_rel <= rtol)
  return Item(
    file,
    name,
    HOLDS if holds else FAILS,
    variant,
    max_abs,
    max_rel,
    tolerance,
    note,
  )


def within(
  file: str,
  name: str,
  ours: Any,
  theirs: Any,
  *,
  bounds: Any,
  tolerance: str,
  variant: str = '',
  note: str = '',
) -> Item:
  """Compares numbers with individual bounds.

  Args:
    file: of the recordings.
    name: what is compared.
    ours: our result.
    theirs: the recorded array, of the same shape.
    bounds: largest absolute errors allowed, of the same shape.
    tolerance: the bounds in words.
    variant: the behavior compared.
    note: shown next to the verdict.
  """
  item = dataclasses.replace(
    close(file, name, ours, theirs, variant=variant, note=note),
    tolerance=tolerance,
  )
  if item.max_abs is None:
    return item
  holds = bool(np.all(np.abs(np.asarray(ours) - theirs) <= bounds))
  return dataclasses.replace(item, verdict=HOLDS if holds else FAILS)


def probable(
  file: str, name: str, p_value: float, least: float, *, note: str = ''
) -> Item:
  """Judges a statistical test by its p-value, which the note shows.

  Args:
    file: of the recordings.
    name: what is compared.
    p_value: of a chi-square test.
    least: smallest p-value allowed; correct code falls below it with this
      probability.
    note: shown next to the verdict.
  """
  note = f'{note}; ' * bool(note) + f'p-value {p_value:.3g}'
  return Item(
    file,
    name,
    HOLDS if p_value >= least else FAILS,
    tolerance=f'p >= {least:.1g}',
    note=note,
  )


def equal(
  file: str,
  name: str,
  ours: Any,
  theirs: Any,
  *,
  variant: str = '',
  note: str = '',
) -> Item:
  """Compares for equality: numbers, or lists of anything."""
  if _is_numeric(ours) and _is_numeric(theirs):
    return dataclasses.replace(
      close(file, name, ours, theirs, atol=0.0, variant=variant, note=note),
      tolerance='exact',
    )
  ours, theirs = (
    x.tolist() if isinstance(x, np.ndarray) else x for x in (ours, theirs)
  )
  is_same = ours == theirs
  if not is_same:
    ours, theirs = _differing(ours, theirs)
    note = f'{note} ours: {_short(ours)}, recorded: {_short(theirs)}'.strip()
  return Item(
    file,
    name,
    HOLDS if is_same else FAILS,
    variant,
    tolerance='exact',
    note=note,
  )


def as_sets(
  file: str,
  name: str,
  ours: Any,
  theirs: Any,
  *,
  variant: str = '',
  note: str = '',
) -> Item:
  """Compares rows of integers as sets, ignoring their order.

  Args:
    file: of the recordings.
    name: what is compared.
    ours: int [..., n].
    theirs: int [..., n].
    variant: the behavior compared.
    note: shown next to the verdict.
  """
  return equal(
    file,
    name,
    np.sort(ours, axis=-1),
    np.sort(theirs, axis=-1),
    variant=variant,
    note=note or 'as sets',
  )


def largest(items: Iterable[Item], name: str) -> Item:
  """Returns one item for many: the worst one, whose name is in the note."""
  items = list(items)
  worst = max(
    items, key=lambda item: (item.verdict != HOLDS, item.max_abs or 0.0)
  )
  note = f'{len(items)} arrays'
  if worst.max_abs or worst.verdict != HOLDS:
    note += f'; worst: {worst.name}'
  return dataclasses.replace(
    worst,
    name=name,
    note='; '.join(text for text in (note, worst.note) if text),
  )


def _errors(ours: Any, theirs: Any) -> tuple[float, float] | None:
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  if ours.shape != theirs.shape:
    return None
  if not ours.size:
    return 0.0, 0.0
  kind = np.result_type(ours.dtype, theirs.dtype, np.float64)
  ours, theirs = ours.astype(kind), theirs.astype(kind)
  with np.errstate(invalid='ignore'):
    error = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
  # NaN would compare false with any tolerance.
  max_abs = float(np.max(np.where(np.isnan(error), np.inf, error)))
  scale = float(np.max(np.abs(theirs)))
  return max_abs, (
    max_abs / scale if scale > 0 else 0.0 if max_abs == 0 else np.inf
  )


def _is_numeric(value: Any) -> bool:
  if isinstance(value, (np.ndarray, np.number, int, float)):
    return np.asarray(value).dtype.kind in 'biuf'
  return hasattr(value, '__array__') and hasattr(value, 'dtype')


def _shapes(ours: Any, theirs: Any) -> str:
  return f'shape {np.shape(ours)}, recorded {np.shape(theirs)}'


def _differing(ours: Any, theirs: Any) -> tuple[Any, Any]:
  """Returns the differing entries of two dictionaries; others unchanged."""
  if not isinstance(ours, dict) or not isinstance(theirs, dict):
    return ours, theirs
  keys = [
    key
    for key in (ours | theirs)
    if key not in ours or key not in theirs or ours[key] != theirs[key]
  ]
  return tuple(  # type: ignore[return-value]
    {key: side[key] for key in keys if key in side} for side in (ours, theirs)
  )


def _short(value: Any) -> str:
  text = str(value)
  return text if len(text) <= 60 else f'{text[:57]}...'
