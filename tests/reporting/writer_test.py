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
  (path,) = folder.iterdir()
  return _events_of(path)


def _events_of(path):
  content, at, events = path.read_bytes(), 0, []
  while at < len(content):
    (length,) = struct.unpack('Q', content[at : at + 8])
    events.append(
      event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
    )
    at += 16 + length
  return events


def test_lines_and_events(tmp_path):
  metrics = writer.MetricsWriter(tmp_path, about={'precision': 'float32'})
  metrics.write(3, 'train', {'loss': 0.5, 'seconds': 2.0})
  metrics.close()
  assert json.loads((tmp_path / 'metrics.jsonl').read_text()) == {
    'update': 3,
    'kind': 'train',
    'loss': 0.5,
    'seconds': 2.0,
    'precision': 'float32',
  }
  start, *events = _events(tmp_path / 'tensorboard')
  assert start.file_version == 'brain.Event:2'
  assert [
    (e.step, e.summary.value[0].tag, e.summary.value[0].simple_value)
    for e in events
  ] == [(3, 'train/loss', 0.5), (3, 'train/seconds', 2)]


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
    (1, 0.5),
    (2, 1.0),
    (3, 9.0),
  ]
  assert not (tmp_path / 'metrics.partial').exists()


def test_every_kind_stands_once_for_an_update(tmp_path):
  # Killed after a validation, whose state was saved before, and goes on there.
  (tmp_path / 'metrics.jsonl').write_text(
    ''.join(
      json.dumps({'update': update, 'kind': kind, 'loss': loss}) + '\n'
      for update, kind, loss in [
        (1, 'train', 1.0),
        (2, 'train', 2.0),
        (2, 'validation', 3.0),
        # As versions before this one have left it.
        (2, 'validation', 4.0),
        (3, 'train', 5.0),
      ]
    )
  )
  metrics = writer.MetricsWriter(tmp_path, 2)
  metrics.write(2, 'validation', {'loss': 6.0})
  metrics.write(3, 'train', {'loss': 7.0})
  metrics.write(3, 'train', {'loss': 8.0})
  metrics.close()
  lines = [
    json.loads(line)
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()
  ]
  assert [(x['update'], x['kind'], x['loss']) for x in lines] == [
    (1, 'train', 1.0),
    (2, 'train', 2.0),
    (2, 'validation', 3.0),
    (3, 'train', 7.0),
  ]
  assert [
    (e.step, e.summary.value[0].tag)
    for e in _events(tmp_path / 'tensorboard')[1:]
  ] == [(3, 'train/loss')]


def test_tensorboard_drops_what_is_done_again(tmp_path):
  # Also where a run was killed before it had saved anything.
  board = tmp_path / 'tensorboard'
  board.mkdir()
  (board / 'events.of.the.killed.run').touch()
  metrics = writer.MetricsWriter(tmp_path)
  metrics.write(1, 'train', {'loss': 0.5})
  metrics.close()
  (last,) = board.glob('*tfevents*')
  start, session, _ = _events_of(last)
  assert session.session_log.status == event_pb2.SessionLog.START
  assert session.step == 1


def test_a_folder_that_is_anothers_is_not_written(tmp_path):
  def refuse():
    raise errors.UserError('taken over')

  metrics = writer.MetricsWriter(tmp_path, check=refuse)
  with pytest.raises(errors.UserError, match='taken over'):
    metrics.write(1, 'train', {'loss': 0.5})
  metrics.close()
  assert not (tmp_path / 'metrics.jsonl').read_text()


def test_a_full_disk_is_told_at_once(tmp_path, monkeypatch):
  metrics = writer.MetricsWriter(tmp_path)

  def refuse(*unused_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(event_file_writer.EventsWriter, 'write_event', refuse)
  with pytest.raises(
    errors.UserError,
    match='metrics.jsonl cannot be written: no space is left there; free some',
  ):
    metrics.write(3, 'train', {'loss': 0.5})
  metrics.close()
