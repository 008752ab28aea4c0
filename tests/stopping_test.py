"""SIGTERM as a flag, as an exception, and as the last resort."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tagsdc_jax import errors, stopping


def _raise_signal():
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(0.01)  # The handler runs between two instructions.


def test_a_notice_is_a_flag():
  before = signal.getsignal(signal.SIGTERM)
  notice = stopping.Notice(60, 'continue')
  with notice.listening():
    assert not notice.is_given
    _raise_signal()
    assert notice.is_given
  assert signal.getsignal(signal.SIGTERM) == before


def test_it_ends_what_may_be_interrupted():
  notice = stopping.Notice(60, 'continue so')
  with notice.listening():
    with pytest.raises(errors.Stopped, match='continue so'):
      with notice.interrupting():
        _raise_signal()
        raise AssertionError
    # Asked before, the next such thing does not begin.
    with pytest.raises(errors.Stopped):
      with notice.interrupting():
        raise AssertionError


@pytest.mark.parametrize('text, code', [('', 0), ('75', 75), ('x', 0)])
def test_exit_code(text, code, monkeypatch):
  monkeypatch.setenv(stopping.CODE, text)
  assert stopping.exit_code() == code


def test_who_does_not_answer_leaves_in_time():
  begun = time.monotonic()
  ended = subprocess.run([sys.executable, '-c', textwrap.dedent('''
      import os, signal, time
      from tagsdc_jax import stopping
      with stopping.Notice(0.3, 'give the command again').listening():
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(600):
          time.sleep(0.1)
      ''')], capture_output=True, text=True, check=False)
  assert ended.returncode == 0
  assert 'an answer took too long' in ended.stderr
  assert 'give the command again' in ended.stderr
  assert time.monotonic() - begun < 30
