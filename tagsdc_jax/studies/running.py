"""Trains the runs of studies and measures them; what is done is not repeated.

A run's folder is named after a hash of its settings and of its start, so that
studies in one folder share equal runs. Several processes may work on one
folder: each does every n-th seed.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files, settings, shipped
from tagsdc_jax.runs import chain, folder, loading, report
from tagsdc_jax.runtime import programs
from tagsdc_jax.studies import study
from tagsdc_jax.studies.measures import items, judges, networks, registry

RUNS = 'runs'
# What a measure was when it was stored; raised if one of them changes.
_MEASURES_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Runner:
  """Runs and measures of one folder.

  Attributes:
    out: the folder.
    base: settings that runs change.
    say: called with a line about each training.
    judge: folder of a causal language model; '': see `judges.about`.
    named: the settings, for readers of the page.
  """

  out: Path
  base: study.Base
  say: Callable[[str], Any]
  judge: str = ''
  named: str = ''

  def start(self) -> study.Trained:
    """Returns the weights that stage 1 starts from, trained if necessary.

    Raises:
      UserError, Stopped: as `train`; also if no weights are named, and no
        settings to train them with.
    """
    tags = self.base.phases['tags']
    if tags.init_from not in ('', settings.FRESH, settings.REQUIRED):
      return study.Trained(
        shipped.find(tags.init_from),
        dataclasses.replace(tags, phase='pretrain'),
        {},
      )
    phases = self.base.phases
    if 'pretrain' not in phases:
      raise errors.UserError(
        'these phases have no pretraining of their own; name the weights that '
        'stage 1 starts from: --config.init_from=RUN_DIR|FILE'
      )
    first = study.Run('align', 'align') if 'align' in phases else None
    return self.train(study.Run('pretrain', 'pretrain', {}, first), 0)

  def train(self, run: study.Run, seed: int) -> study.Trained:
    """Returns a run, trained and evaluated if that is not done yet.

    Raises:
      UserError, Stopped: as `training.train`.
    """
    place, config = self._place(run, seed)
    results = _finished(place)
    if results is None:
      self.say(f'{"continuing" if place.exists() else "training"} {place.name}')
      programs.drop_if_many()
      results = chain.train_from('', config, place)
    if 'evaluation' not in results:
      raise errors.UserError(
        f'{place} stopped early (stop_at_update); a study needs whole runs'
      )
    return study.Trained(place, config, results)

  def is_done(self, run: study.Run, seed: int) -> bool:
    """Returns whether a run, and those that it needs, have finished."""
    needed = [run.start, *(run.equal_flop or ())]
    if not all(self.is_done(one, seed) for one in needed if one is not None):
      return False
    return (self._place(run, seed)[0] / folder.RESULTS).is_file()

  def measure(
    self,
    trained: study.Trained,
    name: str,
    ranking: Mapping[str, Any] | None = None,
  ) -> items.Items:
    """Returns a measure of a run, stored beside it.

    Args:
      trained: the run.
      name: of the measure.
      ranking: other values of settings, by dotted name.
    """
    of = [self._name_of(trained), name]
    if name in registry.JUDGED and self.judge:
      of.append(_digest(judges.about(self.judge)))
    if ranking:
      of.append(_digest(dict(ranking)))
      trained = dataclasses.replace(
        trained, config=loading.overridden(trained.config, ranking)
      )
    path = self.out / 'measures' / f'{"-".join(of)}.json'
    try:
      stored = json.loads(path.read_text('utf-8'))
      if stored['version'] == _MEASURES_VERSION:
        return stored['items']
    except (OSError, ValueError, KeyError, TypeError):
      pass
    programs.drop_if_many()
    self.say(f'measuring {name} of {of[0]}')
    found = registry.MEASURES[name](_subject(trained, self.start(), self.judge))
    with errors.named(path):
      path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {'version': _MEASURES_VERSION, 'items': found})
    return found

  def _name_of(self, trained: study.Trained) -> str:
    if trained.results:
      return trained.path.name
    flat = settings.flatten(trained.config)
    data = {key: flat[key] for key in flat if key.startswith('data.')}
    return f'{trained.path.name}-{_digest(data)}'

  def _place(self, run: study.Run, seed: int) -> tuple[Path, settings.Settings]:
    """Returns the folder and the settings of a run."""
    start = ''
    if run.start is not None:
      start = str(self.train(run.start, seed).path)
    elif run.phase not in ('align', 'pretrain'):
      first = self.start()
      start = str(first.path) if first.results else ''
    config = study.settings_of(self.base, run, seed, start)
    if run.equal_flop is not None:
      config = dataclasses.replace(
        config, num_updates=self._equal_updates(run.equal_flop, seed)
      )
    flat = settings.flatten(config)
    # The start's name has the hash of its own settings.
    known = {
      key: Path(str(value)).name if key == 'init_from' else value
      for key, value in flat.items()
      if key not in settings.FREE_TO_CHANGE
    }
    name = f'{run.name}-seed{seed}-{_digest(known)}'
    return self._folder(name), config

  def _folder(self, name: str) -> Path:
    """Returns the folder of a run; an equal run may have another name."""
    ending = name[name.rindex('-') :]
    with errors.named(self.out):
      (self.out / RUNS).mkdir(parents=True, exist_ok=True)
      equal = sorted((self.out / RUNS).glob(f'*{ending}'))
    return equal[0] if equal else self.out / RUNS / name

  def _equal_updates(
    self, equal: tuple[study.Run, study.Run], seed: int
  ) -> int:
    """Returns updates that take as much FLOP as another run.

    Args:
      equal: the run whose FLOP is spent, and one whose updates take as much as
        those of this run.
      seed: of all.
    """
    spent, alike = (self.train(run, seed) for run in equal)
    share = self.flop(spent) / self.flop(alike)
    return max(1, round(alike.config.num_updates * share))

  def flop(self, trained: study.Trained) -> float:
    """Returns the FLOP of a run, as its metrics count the needed ones."""
    per_positive = [
      line['gflop_per_positive']
      for line in report.read_metrics(trained.path / folder.METRICS)
      if 'gflop_per_positive' in line
    ]
    config = trained.config
    positives = config.batch.positives * config.batch.micro_batches
    return 1e9 * float(np.mean(per_positive)) * positives * config.num_updates


@functools.lru_cache(maxsize=1)
def _subject(
  trained: study.Trained, start: study.Trained, judge: str
) -> networks.Subject:
  """Returns the same subject for all measures of a run in a row."""
  return networks.Subject(trained, start, judge)


def _finished(place: Path) -> dict[str, Any] | None:
  """Returns the results of a finished run; None if there are none.

  Its name says what its settings are: its own notes of them have the paths of
  where the folder was when it was trained.
  """
  try:
    results = json.loads((place / folder.RESULTS).read_text('utf-8'))
  except (OSError, ValueError):
    return None
  is_whole = isinstance(results, dict) and 'evaluation' in results
  return results if is_whole else None


def own_seeds(count: int, part: tuple[int, int]) -> Sequence[int]:
  """Returns the seeds that the I-th of N processes does."""
  return range(count)[part[0] :: part[1]]


def _digest(parts: Any) -> str:
  text = json.dumps(parts, sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()[:10]
