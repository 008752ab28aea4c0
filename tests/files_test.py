"""Files of the user: whole, followed, streamed; and what takes their place."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tagsdc_jax import errors, files
from tests import denying

_NEW = b'new'


def _write(path, content=_NEW):
  files.write_whole(path, lambda file: file.write(content))


@pytest.mark.parametrize(
  'name',
  [
    'result.partial',
    'x.json',
    '.partial',
    'result',
    'a.b.partial',
    'é' * 120,
    'x' * 255,
    '-',
    'new\nline',
  ],
)
def test_any_name_is_written_and_nothing_else(tmp_path, name):
  # What an earlier version would have overwritten.
  (tmp_path / 'x.partial').write_text('mine')
  for content in (b'old', _NEW):
    _write(tmp_path / name, content)
    assert (tmp_path / name).read_bytes() == content
  assert {path.name for path in tmp_path.iterdir()} == {name, 'x.partial'}
  assert (tmp_path / 'x.partial').read_text() == 'mine'


def test_a_link_is_followed(tmp_path):
  (tmp_path / 'there').mkdir()
  target, link = tmp_path / 'there' / 'file', tmp_path / 'link'
  link.symlink_to('there/file')
  for content in (b'a', b'b'):  # At first it leads to nothing.
    _write(link, content)
    assert link.is_symlink() and target.read_bytes() == content
  assert len(list(tmp_path.rglob('*'))) == 3
  loop = tmp_path / 'loop'
  loop.symlink_to('loop')
  for function in (_write, files.check_target):
    with pytest.raises(
      errors.UserError,
      match='loop cannot be written: Too '
      'many levels of symbolic links; pass another path',
    ):
      function(loop)


def test_modes_are_the_users(tmp_path):
  path, before = tmp_path / 'file', os.umask(0o027)
  try:
    _write(path)
  finally:
    os.umask(before)
  assert path.stat().st_mode & 0o777 == 0o640
  path.chmod(0o604)
  _write(path)
  assert path.stat().st_mode & 0o777 == 0o604


def test_an_error_leaves_what_was_there(tmp_path):
  path = tmp_path / 'file'
  _write(path, b'old')

  def fail(file):
    file.write(b'half')
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with pytest.raises(
    errors.UserError, match='file cannot be written: no space is left'
  ):
    files.write_whole(path, fail)
  with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / 'new'):
    raise ZeroDivisionError
  assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b'old'


def test_what_the_dead_leave_goes_and_what_the_living_write_stays(tmp_path):
  dead, living, others = (
    tmp_path / f'.{name}.partial'
    for name in ('file.0123abcd', 'file.89abcdef', 'other.0123abcd')
  )
  for path in (dead, living, others):
    path.write_bytes(b'half')
  folder = tmp_path / '.file.00000000.partial'
  (folder / 'whole').mkdir(parents=True)
  with open(living, 'rb') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    _write(tmp_path / 'file')
  assert {path.name for path in tmp_path.iterdir()} == {
    'file',
    living.name,
    others.name,
  }
  with files.whole_folder(tmp_path / 'other') as place:
    place.mkdir()
    assert not others.exists()
    # Another write meanwhile does not take it away.
    files.write_json(tmp_path / 'other.json', 1)
    with files.whole_folder(tmp_path / 'other') as second:
      assert place.is_dir() and second != place
      second.mkdir()
      (second / 'file').touch()
    (tmp_path / 'other' / 'file').unlink()
  assert (tmp_path / 'other').is_dir()
  assert files.is_leftover(dead) and files.is_leftover(tmp_path / 'a.partial')
  assert not files.is_leftover(tmp_path / 'a.json')


def test_pipes_and_devices_are_written_into(tmp_path):
  pipe, got = tmp_path / 'pipe', []
  os.mkfifo(pipe)
  files.check_target(pipe)
  reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
  reader.start()
  files.write_whole(pipe, lambda file: np.save(file, np.eye(3).T))
  reader.join()
  (tmp_path / 'copy.npy').write_bytes(got[0])
  np.testing.assert_array_equal(np.load(tmp_path / 'copy.npy'), np.eye(3))
  assert pipe.is_fifo()
  files.check_target(files.Path(os.devnull))
  _write(files.Path(os.devnull))
  assert os.stat(os.devnull).st_mode & 0o170000 == 0o020000


@pytest.mark.parametrize(
  'path', ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1', 'link']
)
@pytest.mark.parametrize('kind', ['pipe', 'file'])
def test_standard_output(tmp_path, path, kind):
  (tmp_path / 'link').symlink_to('/dev/stdout')
  code = (
    'import pathlib, sys\nfrom tagsdc_jax import files\n'
    'path = pathlib.Path(sys.argv[1])\nfiles.check_target(path)\n'
    'assert files.is_stdout(path)\n'
    'print("before", flush=True)\nfiles.write_json(path, [1])\n'
    'print("after")'
  )
  command = [sys.executable, '-c', code, path]
  if kind == 'pipe':
    shown = subprocess.run(
      command, cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
  else:  # Whose start must not be written over.
    with open(tmp_path / 'out', 'w', encoding='utf-8') as file:
      subprocess.run(command, cwd=tmp_path, check=True, stdout=file)
    shown = (tmp_path / 'out').read_text('utf-8')
  assert shown == 'before\n[\n 1\n]\nafter\n'


def test_open_files_that_cannot_be_written(tmp_path):
  read = os.open(__file__, os.O_RDONLY)
  try:
    for number, message in (
      (read, 'Open for reading only'),
      (987654, 'Bad file descriptor'),
    ):
      with pytest.raises(errors.UserError, match=message):
        files.check_target(files.Path(f'/dev/fd/{number}'))
  finally:
    os.close(read)
  assert not files.is_stdout(tmp_path / '1') and not files.is_stdout(None)


@pytest.mark.parametrize(
  'name, message',
  [
    ('', 'cannot be written: Is a directory'),
    ('folder', 'Is a directory'),
    ('no/file', 'folder .*no is missing; create it'),
    ('link', 'folder .*elsewhere is missing; create it'),
    ('file/file', 'Not a directory'),
    ('x' * 256, 'name too long'),
  ],
)
def test_a_target_that_cannot_be_is_told_before_the_work(
  tmp_path, name, message
):
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'file').touch()
  (tmp_path / 'link').symlink_to(tmp_path / 'elsewhere' / 'file')
  with pytest.raises(errors.UserError, match=message):
    files.check_target(tmp_path / name)
  assert {path.name for path in tmp_path.iterdir()} == {
    'folder',
    'file',
    'link',
  }


def test_what_may_not_be_written_is_told_and_stays():
  with denying.open_folder() as folder:
    path = folder / 'file'
    path.write_bytes(b'old')
    os.chown(path, folder.stat().st_uid, -1)
    with (
      denying.denied(path),
      pytest.raises(errors.UserError, match='permission denied'),
    ):
      files.check_target(path)
    assert path.read_bytes() == b'old'
    with denying.denied(folder):
      for name in ('file', 'new'):
        with pytest.raises(errors.UserError, match='permission denied'):
          files.check_target(folder / name)


def test_one_file_for_two(tmp_path):
  (tmp_path / 'link').symlink_to('a')
  files.check_different(
    {'--x': tmp_path / 'a', '--y': tmp_path / 'b', '--z': None, '--v': None}
  )
  for other in (tmp_path / 'link', tmp_path / 'no' / '..' / 'a'):
    with pytest.raises(errors.UserError, match='--x and --y are the same file'):
      files.check_different({'--x': tmp_path / 'a', '--y': other})
  with pytest.raises(errors.UserError, match='the same file'):
    files.check_different(
      {'--x': files.Path('/dev/stdout'), '--y': files.Path('/proc/self/fd/1')}
    )


@pytest.mark.parametrize(
  'content, found',
  [
    (
      b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n',
      'a Git LFS pointer, not the file itself; run `git lfs pull`',
    ),
    (b'\n <!DOCTYPE html>\n<html><head>', 'a web page; download the file'),
    ('<html>\u00e9'.encode('latin-1'), 'a web page'),
    (b'\xef\xbb\xbf<?xml version="1.0"?><Error>', 'a web page'),
    (
      json.dumps({'error': 'Repository not found'}).encode(),
      'text that begins with \'{"error": "Repository not found"}\'',
    ),
    (b'Entry not found', "text that begins with 'Entry not found'"),
    ('ä'.encode() * 5000, 'text'),
    (b'', None),
    (b' \n', None),
    (b'\x80\x02}q\x00.', None),
    (b'PK\x03\x04', None),
    (b'\x93NUMPY\x01\x00', None),
    (b'{"a":1}\x00\x00\x00', None),
    (b'abc\xff\xfe', None),
  ],
)
def test_what_takes_the_place_of_a_file(tmp_path, content, found):
  path = tmp_path / 'weights.safetensors'
  path.write_bytes(content)
  told = files.kind_of_text(path)
  assert told is None if found is None else told.startswith(found)
