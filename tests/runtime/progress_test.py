"""What people see of long work in a log file, where nothing is drawn over."""

import os
import sys
import time

import pytest

from tagsdc_jax.runtime import progress


@pytest.fixture(name='clock')
def _clock(monkeypatch):
  """Seconds that pass only when a test says so."""
  now = [100.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  return now


def test_a_log_file_gets_few_lines(clock, capsys):
  with progress.progress_bar(3600, 'training', 'updates') as bar:
    for _ in range(3600):
      clock[0] += 1
      bar.set_postfix_str('loss 0.5', refresh=False)
      bar.update(1)
  lines = capsys.readouterr().err.splitlines()
  assert 5 < len(lines) < 15
  assert lines[0] == 'training: 10 of 3,600 updates, 59:50 left, loss 0.5'
  assert lines[-1] == 'training: 3,600 of 3,600 updates, took 1:00:00, loss 0.5'


def test_time_left_of_a_continued_run(clock, capsys):
  with progress.progress_bar(100, 'training', 'updates', initial=50) as bar:
    clock[0] += 20
    bar.update(10)
  lines = capsys.readouterr().err.splitlines()
  assert lines == [
    'training: 60 of 100 updates, 01:20 left',
    'training: 60 of 100 updates, stopped after 00:20',
  ]


def test_what_is_done_at_once_says_nothing(capsys):
  with progress.progress_bar(5, 'reading', 'captions') as bar:
    bar.update(5)
  with progress.waiting('compiling'):
    pass
  shown = capsys.readouterr()
  assert not shown.out and not shown.err


@pytest.mark.parametrize('is_terminal', [False, True])
def test_processes_that_say_nothing(is_terminal, clock, capsys, monkeypatch):
  monkeypatch.setattr(progress, '_AT_ONCE', 0.01)
  monkeypatch.setattr(
    progress.sys.stderr, 'isatty', lambda: is_terminal, raising=False
  )
  with progress.progress_bar(50, 'training', 'updates', is_shown=False) as bar:
    clock[0] += 1000
    bar.set_postfix_str('loss 0.5', refresh=False)
    bar.update(50)
  shown = capsys.readouterr()
  assert not shown.out and not shown.err


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
  monkeypatch.setattr(
    progress.sys.stderr, 'isatty', lambda: True, raising=False
  )
  with progress.progress_bar(5, 'reading', 'captions') as bar:
    bar.delay = 0
    bar.update(5)
  shown = capsys.readouterr().err
  assert 'reading: 100%' in shown and '5/5' in shown


@pytest.mark.parametrize(
  'is_terminal, text',
  [(False, 'judging: 0 of 3 batches\n'), (True, 'judging:   0%|')],
)
def test_long_before_the_first_count_it_is_named(
  is_terminal, text, capsys, monkeypatch
):
  monkeypatch.setattr(progress, '_AT_ONCE', 0.01)
  monkeypatch.setattr(
    progress.sys.stderr, 'isatty', lambda: is_terminal, raising=False
  )
  with progress.progress_bar(3, 'judging', 'batches') as bar:
    time.sleep(0.3)
    assert text in capsys.readouterr().err
    bar.update(3)
  assert '3/3' in (shown := capsys.readouterr().err) or '3 of 3' in shown


def test_work_goes_on_where_nobody_reads(monkeypatch):
  monkeypatch.setattr(progress, '_AT_ONCE', 0.01)
  reader, writer = os.pipe()
  os.close(reader)
  with open(writer, 'w', encoding='utf-8') as gone:
    monkeypatch.setattr(sys, 'stderr', gone)
    with progress.waiting('compiling'):
      time.sleep(0.1)
    with progress.progress_bar(3, 'judging', 'batches') as bar:
      time.sleep(0.1)
      bar.update(3)
    with pytest.raises(BrokenPipeError):  # It was a pipe without a reader.
      gone.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # So that it closes.


def test_waiting_says_what_for_and_how_long(capsys, monkeypatch):
  monkeypatch.setattr(progress, '_AT_ONCE', 0.01)
  with pytest.raises(ValueError):
    with progress.waiting('compiling (usually 20 s)'):
      time.sleep(0.3)
      raise ValueError
  # The line has ended, so that what comes next has one of its own.
  assert capsys.readouterr().err == 'compiling (usually 20 s) ... 0 s\n'
