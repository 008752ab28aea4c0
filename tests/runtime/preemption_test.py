"""Signals as a flag, as an exception, and as the last resort."""

import os
import pty
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tagsdc_jax import errors
from tagsdc_jax.runtime import preemption


@pytest.fixture(autouse=True)
def _restored():
  """Undoes that a process asked to stop ignores signals from then on."""
  before = {
    number: signal.getsignal(number)
    for number in (*preemption.SIGNALS, signal.SIGINT)
  }
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


def _raise_signal(number=signal.SIGTERM):
  os.kill(os.getpid(), number)
  time.sleep(0.01)  # The handler runs between two instructions.


def _run(code, **options):
  return subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)],
    capture_output=True,
    text=True,
    check=False,
    timeout=60,
    **options,
  )


@pytest.mark.parametrize('number', preemption.SIGNALS)
def test_a_notice_is_a_flag_where_something_is_unsaved(number):
  notice = preemption.Notice(60, 'continue')
  with notice.listening(), notice.deferring():
    assert not notice.is_given
    _raise_signal(number)
    assert notice.is_given
    for again in preemption.SIGNALS:
      _raise_signal(again)
  # Also after it, until the process has left.
  assert signal.getsignal(number) == signal.SIG_IGN


def test_handlers_come_back_if_nobody_asked():
  before = signal.getsignal(signal.SIGTERM)
  with preemption.Notice(60, 'continue').listening():
    assert signal.getsignal(signal.SIGTERM) != before
  assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize('code, expected', [(None, 128 + 15), (75, 75)])
def test_it_ends_what_may_be_interrupted(code, expected):
  notice = preemption.Notice(60, 'continue so', code)
  with notice.listening():
    with pytest.raises(
      errors.Stopped, match='asked to stop; continue so'
    ) as caught:
      _raise_signal()
      raise AssertionError
    assert caught.value.code == expected
    # Asked before, the next such thing does not begin.
    with notice.deferring(), pytest.raises(errors.Stopped):
      with notice.interrupting():
        raise AssertionError


def test_a_block_within_what_is_deferred_is_ended():
  notice = preemption.Notice(60, 'continue so')
  with notice.listening(), notice.deferring():
    with pytest.raises(errors.Stopped), notice.interrupting():
      _raise_signal()
      raise AssertionError


def test_no_handling_of_errors_takes_it_for_one():
  notice = preemption.Notice(60, 'continue')
  with pytest.raises(errors.Stopped), notice.listening():
    try:
      _raise_signal()
    except Exception as error:
      raise AssertionError from error


class _Garbage:
  def __del__(self):
    _raise_signal()


def test_it_is_not_lost_where_python_swallows_exceptions():
  garbage = _Garbage()
  with pytest.raises(errors.Stopped):
    with preemption.Notice(60, 'continue').listening():
      del garbage
      time.sleep(10)
      raise AssertionError


def test_what_the_parent_has_had_ignored_stays_so():
  signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As `nohup` does.
  notice = preemption.Notice(60, 'continue')
  with notice.listening():
    _raise_signal(signal.SIGHUP)
    assert not notice.is_given


@pytest.mark.parametrize(
  'text, code', [('', 0), ('75', 75), (' 7 ', 7), ('0', 0), ('255', 255)]
)
def test_exit_code(text, code):
  assert preemption.exit_code({preemption.CODE: text}) == code
  assert preemption.exit_code({}) == 0


@pytest.mark.parametrize('text', ['x', '256', '300', '-1', '1.5', '²', '1e2'])
def test_an_exit_code_that_no_process_has(text):
  with pytest.raises(
    errors.UserError,
    match='TAGSDC_STOPPED_CODE in the '
    f'environment must be .* 0 to 255, got {text!r}',
  ):
    preemption.exit_code({preemption.CODE: text})


def test_who_does_not_answer_leaves_in_time():
  begun = time.monotonic()
  ended = _run("""
      import os, signal, time
      from tagsdc_jax.runtime import preemption
      notice = preemption.Notice(0.3, 'give the command again', 75)
      with notice.listening(), notice.deferring():
        os.kill(os.getpid(), signal.SIGUSR2)
        for _ in range(600):
          time.sleep(0.1)
      """)
  assert ended.returncode == 75
  assert 'the reaction took too long' in ended.stderr
  assert 'give the command again' in ended.stderr
  assert time.monotonic() - begun < 30


def test_the_exit_code_is_kept_until_the_process_has_left():
  ended = _run("""
      import atexit, os, signal, sys
      from tagsdc_jax.runtime import preemption
      def ask_again(*unused):
        for number in preemption.SIGNALS:
          os.kill(os.getpid(), number)
      class Late:
        __del__ = ask_again
      sys.late = Late()  # Goes as the interpreter ends.
      atexit.register(ask_again)
      preemption.ignore()
      ask_again()
      sys.exit(5)
      """)
  assert (ended.returncode, ended.stderr) == (5, '')


def test_what_goes_on_in_threads_is_not_waited_for():
  # As a program that XLA compiles: the usual end would wait for it.
  begun = time.monotonic()
  ended = _run("""
      import threading, time
      from tagsdc_jax.runtime import preemption
      threading.Thread(target=time.sleep, args=(50,)).start()
      print('said', end='')
      preemption.end(7)
      """)
  assert (ended.returncode, ended.stdout, ended.stderr) == (7, 'said', '')
  assert time.monotonic() - begun < 40


def test_ctrl_c_while_python_ends_shows_no_traceback():
  ended = _run("""
      import atexit, os, signal
      from tagsdc_jax.runtime import preemption
      atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
      preemption.ignore()
      """)
  assert (ended.returncode, ended.stderr) == (-signal.SIGINT, '')


def test_a_terminal_that_is_gone_is_not_written_to():
  # Writing there fails, and what is unsaved would be lost.
  terminal, other = pty.openpty()
  with subprocess.Popen(
    [
      sys.executable,
      '-c',
      textwrap.dedent("""
      import sys, time
      from tagsdc_jax.runtime import preemption
      notice = preemption.Notice(60, 'continue', 7)
      with notice.listening(), notice.deferring():
        print('up', flush=True)
        while not notice.is_given:
          time.sleep(0.01)
        for _ in range(3):
          print('saving', file=sys.stderr, flush=True)
          print('saving', flush=True)
      sys.exit(7)
      """),
    ],
    stdin=other,
    stdout=other,
    stderr=other,
    start_new_session=True,
  ) as child:
    os.close(other)
    assert b'up' in os.read(terminal, 100)
    os.close(terminal)
    child.send_signal(signal.SIGHUP)
    assert child.wait(30) == 7
