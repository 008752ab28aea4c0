"""Tests that the photos of a folder are listed."""

import os
import sys

import pytest

from tagsdc_jax import errors
from tagsdc_jax.preparing.photos import folder


def _touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()


def test_photos_below_are_sorted_and_others_left_out(tmp_path):
  _touch(
    tmp_path,
    'b.jpg',
    'a/z.PNG',
    'a/b/c.jpeg',
    'a.webp',
    'captions.csv',
    'noend',
    '.hidden.jpg',
    '.git/x.jpg',
    'a/._b.jpg',
    'Ü.jpg',
  )
  assert folder.photo_names(tmp_path) == (
    'a.webp',
    'a/b/c.jpeg',
    'a/z.PNG',
    'b.jpg',
    'Ü.jpg',
  )


def test_links_are_followed_but_not_in_circles(tmp_path):
  _touch(tmp_path, 'photos/a/x.jpg', 'other/y.jpg')
  (tmp_path / 'photos' / 'a' / 'up').symlink_to(tmp_path / 'photos')
  (tmp_path / 'photos' / 'more').symlink_to(tmp_path / 'other')
  assert folder.photo_names(tmp_path / 'photos') == ('a/x.jpg', 'more/y.jpg')


def test_folders_that_are_refused(tmp_path):
  _touch(tmp_path, 'file', 'empty/notes.txt')
  for name, message in (
    ('missing', 'must be a folder of photos, but is missing; pass another'),
    ('file', 'but is a file; pass another path'),
    ('empty', r'has no photos \(.jpg, .jpeg.*; pass another folder'),
  ):
    with pytest.raises(errors.UserError, match=message):
      folder.photo_names(tmp_path / name)


@pytest.mark.skipif(
  sys.getfilesystemencoding() != 'utf-8', reason='names have another encoding'
)
def test_names_that_are_not_utf8(tmp_path):
  try:
    open(os.fsencode(tmp_path) + b'/\xff.jpg', 'wb').close()
  except OSError:
    pytest.skip('the file system takes UTF-8 only')
  with pytest.raises(errors.UserError, match='must be UTF-8, got .*; rename'):
    folder.photo_names(tmp_path)
