"""Metrics on disk, and a disk that is full."""

import errno
import json
import os
import struct

import pytest
from tensorboardX import event_file_writer
from tensorboardX.proto import event_pb2

from tagsdc_jax import errors
from tagsdc_jax.reporting import writer


def _events(folder):
  """Returns what TensorBoard would read."""
  path, = folder.iterdir()
  content, at, events = path.read_bytes(), 0, []
  while at < len(content):
    length, = struct.unpack('Q', content[at:at + 8])
    events.append(event_pb2.Event.FromString(
        content[at + 12:at + 12 + length]))
    at += 16 + length
  return events


def test_lines_and_events(tmp_path):
  metrics = writer.MetricsWriter(tmp_path)
  metrics.write(3, 'train', {'loss': 0.5, 'seconds': 2.0})
  metrics.close()
  assert json.loads((tmp_path / 'metrics.jsonl').read_text()) == {
      'update': 3, 'kind': 'train', 'loss': 0.5, 'seconds': 2.0}
  start, *events = _events(tmp_path / 'tensorboard')
  assert start.file_version == 'brain.Event:2'
  assert [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value)
          for e in events] == [(3, 'train/loss', 0.5), (3, 'train/seconds', 2)]


def test_half_a_line_does_not_spoil_the_next(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"update": 1, "ki')
  metrics = writer.MetricsWriter(tmp_path)
  metrics.write(2, 'train', {'loss': 0.5})
  metrics.close()
  last = (tmp_path / 'metrics.jsonl').read_text().splitlines()[-1]
  assert json.loads(last)['update'] == 2


def test_a_run_that_goes_on_drops_what_it_will_do_again(tmp_path):
  metrics = writer.MetricsWriter(tmp_path)
  for update in (1, 2, 3):
    metrics.write(update, 'train', {'loss': 0.5 * update})
  metrics.close()
  metrics = writer.MetricsWriter(tmp_path, 2)
  metrics.write(3, 'train', {'loss': 9.0})
  metrics.close()
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [(x['update'], x['loss']) for x in map(json.loads, lines)] == [
      (1, 0.5), (2, 1.0), (3, 9.0)]
  assert not (tmp_path / 'metrics.partial').exists()


def test_a_full_disk_is_told_at_once(tmp_path, monkeypatch):
  metrics = writer.MetricsWriter(tmp_path)

  def refuse(*unused_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  monkeypatch.setattr(event_file_writer.EventsWriter, 'write_event', refuse)
  with pytest.raises(errors.UserError, match='metrics.jsonl cannot be written: '
                     'no space is left there; free some'):
    metrics.write(3, 'train', {'loss': 0.5})
  metrics.close()
