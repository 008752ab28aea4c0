"""What happens between updates: when it is due, and what is written."""

import dataclasses
import types

import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.runs import hooks
from tagsdc_jax.runtime import parallel, progress
from tagsdc_jax.training import state

DEVICES = parallel.local_devices(2)
CONFIG = settings.Settings(
  num_updates=100,
  checkpoint_every=10,
  eval_every=25,
  keep_at_updates=(7,),
  log_every=3,
  batch=settings.Batch(positives=3, micro_batches=8),
)


class _Written(list):
  """Stands in for metrics and for checkpoints."""

  def write(self, update, kind, values):
    self.append((update, kind, values))

  def save(self, kind, train_state, about):
    self.append((kind, int(train_state.update), about['best_mean_r1']))


class _Bar:
  done = 0

  def update(self, count):
    self.done += count

  def set_postfix_str(self, note, refresh):
    self.note = note


def _state(update):
  return parallel.replicate(
    state.TrainState(np.int32(update), {'a': np.ones(2)}, ()), DEVICES
  )


def _result(mean_r1):
  recalls = {'r1': mean_r1, 'r5': 0.0, 'r10': 0.0}
  return {
    'image_retrieval': recalls,
    'text_retrieval': recalls,
    'mean_r1': mean_r1,
    'seconds': 1.0,
    'pairs_per_second': 2.0,
  }


def test_saves_are_due():
  saved = _Written()
  hook = hooks.Save(CONFIG, saved, hooks.Best(), last=33)
  assert [n for n in range(60) if hook.is_due(n)] == [
    7,
    10,
    20,
    25,
    30,
    33,
    40,
    50,
  ]
  for update in (7, 10, 25):
    hook(update, _state(update), False)
  assert [entry[:2] for entry in saved] == [
    ('kept', 7),
    ('newest', 10),
    ('newest', 25),
  ]
  hook(13, _state(13), True)  # The run was asked to stop.
  assert saved[-1][:2] == ('newest', 13)


def test_validation_keeps_the_best():
  written, saved, best = _Written(), _Written(), hooks.Best()
  results = iter([20.0, 10.0, 30.0])
  hook = hooks.Validation(
    CONFIG, saved, written, best, lambda params: _result(next(results))
  )
  assert [n for n in range(110) if hook.is_due(n)] == [25, 50, 75, 100]
  for update in (25, 50, 100):
    hook(update, _state(update), False)
  assert [(kind, n) for kind, n, _ in saved] == [('best', 25), ('best', 100)]
  assert best.mean_r1 == 30.0 and hook.final == _result(30.0)
  assert [entry[:2] for entry in written] == [
    (n, 'validation') for n in (25, 50, 100)
  ]
  hook(75, _state(75), True)  # No time for it now.
  assert len(written) == 3


def _values(**changes):
  return {
    'loss': 1.0,
    'seconds': 2.0,
    'seconds_input': 0.5,
    'seconds_hooks': 0.0,
    'input_late': 0.0,
    'gflop_per_positive': 2.0,
  } | changes


def test_times_are_means_since_the_last_line():
  written, bar = _Written(), _Bar()
  report = hooks.Report(CONFIG, written, bar, 5, DEVICES, 5e10)
  for update in range(1, 6):
    report(
      update,
      _values(
        seconds=float(update),
        loss=float(update),
        seconds_hooks=1.0 if update == 5 else 0.0,
        gflop_per_positive=float(update),
      ),
    )
  assert [entry[0] for entry in written] == [3, 5] and bar.done == 5
  first, last = (entry[2] for entry in written)
  assert first['seconds'] == 2.0 and first['loss'] == 3.0
  # 24 positives on 2 devices in 4.5 s, half a second of which was a save.
  assert last['seconds'] == 4.5 and last['seconds_hooks'] == 0.5
  assert last['positives_per_second_per_device'] == pytest.approx(3.0)
  # 4.5 GFLOP for each of them, of 50 a second.
  assert last['flop_per_second_per_device'] == pytest.approx(13.5e9)
  assert last['share_of_peak'] == pytest.approx(0.27)
  assert last['host_peak_bytes'] > 1e6 and 'input_late' not in last


def test_a_log_file_gets_a_line_per_interval(capsys):
  with progress.progress_bar(8, 'tags', 'updates') as bar:
    report = hooks.Report(CONFIG, _Written(), bar, 8, DEVICES, 1.0)
    for update in range(1, 9):
      report(update, _values(loss=0.25 * update))
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 2  # The last update is in the last line of all.
  assert lines[0].startswith('tags: 3 of 8 updates, ')
  assert lines[0].endswith(' left, loss 0.7500, 12.0 positives/s')
  assert lines[1].startswith('tags: 6 of 8 updates, ')


def test_one_warning_if_the_devices_wait_for_data(capsys):
  report = hooks.Report(CONFIG, _Written(), _Bar(), 99, DEVICES, 1.0)
  for update in range(1, 60):
    report(update, _values(input_late=float(update % 3 > 0)))
  shown = capsys.readouterr().err
  assert shown.count('\n') == 1
  assert 'waited for data in 14 of the first 20 updates' in shown


def test_no_warning_otherwise(capsys):
  report = hooks.Report(CONFIG, _Written(), _Bar(), 99, DEVICES, 1.0)
  for update in range(1, 60):
    report(update, _values(input_late=float(update % 3 == 0)))
  assert not capsys.readouterr().err


def test_a_trace_of_the_updates_that_were_asked_for(tmp_path, monkeypatch):
  calls = []
  monkeypatch.setattr(
    hooks.jax,
    'profiler',
    types.SimpleNamespace(
      start_trace=lambda path: calls.append(('start', path)),
      stop_trace=lambda: calls.append(('stop',)),
    ),
  )
  hook = hooks.Profile(dataclasses.replace(CONFIG, profile='3-5'), tmp_path)
  due = [n for n in range(9) if hook.is_due(n)]
  assert due == [2, 5]
  for update in due:
    hook(update, None, False)
  assert calls == [('start', str(tmp_path / 'profile')), ('stop',)]
  never = hooks.Profile(CONFIG, tmp_path)
  assert not any(never.is_due(n) for n in range(9))


@pytest.mark.parametrize(
  'profile, changes, due',
  [
    ('3-5', {'num_updates': 4}, [2, 4]),
    ('3-5', {'stop_at_update': 3}, [2, 3]),
    ('3-5', {'num_updates': 4, 'stop_at_update': 9}, [2, 4]),
    ('3-5', {'num_updates': 2}, []),
    ('3', {'num_updates': 3}, [2, 3]),
  ],
)
def test_a_trace_ends_with_the_run(profile, changes, due, tmp_path):
  hook = hooks.Profile(
    dataclasses.replace(CONFIG, profile=profile, **changes), tmp_path
  )
  assert [n for n in range(9) if hook.is_due(n)] == due
