"""Tests that photos of all kinds are opened, or named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tagsdc_jax.preparing.photos import opening
from tagsdc_jax.preparing.regions.store import Unreadable


@pytest.fixture(autouse=True)
def _quiet():
  with opening.quiet():
    yield


def _picture(height=40, width=60):
  """Returns uint8 [height, width, 3], smooth, the corners of four colors."""
  y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
  return np.stack([x * 255, y * 255, (1 - x) * 255], -1).astype(np.uint8)


def _open(path, **options):
  photo = opening.open_photo(path, **options)
  assert isinstance(photo, opening.Photo), photo
  assert photo.image.mode == 'RGB'
  return photo


def _reason(path, **options):
  found = opening.open_photo(path, **options)
  assert isinstance(found, Unreadable), found
  assert '\n' not in found.reason
  assert str(path) in found.reason
  return found.reason


def test_an_ordinary_photo(tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(_picture()).save(path)
  photo = _open(path)
  np.testing.assert_array_equal(np.asarray(photo.image), _picture())
  assert (photo.width, photo.height) == (60, 40)


def test_the_content_counts_not_the_suffix(tmp_path):
  path = tmp_path / 'a.jpg'
  Image.fromarray(_picture()).save(path, 'PNG')
  np.testing.assert_array_equal(np.asarray(_open(path).image), _picture())


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_turns_the_photo(orientation, tmp_path):
  # Each orientation, as the operation that shows the stored picture upright.
  upright = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
  }[orientation](_picture())
  image = Image.fromarray(_picture())
  exif = image.getexif()
  exif[0x0112] = orientation
  path = tmp_path / 'a.png'
  image.save(path, exif=exif)
  photo = _open(path)
  np.testing.assert_array_equal(np.asarray(photo.image), upright)
  assert (photo.height, photo.width) == upright.shape[:2]


def test_damaged_exif_is_ignored(tmp_path):
  path = tmp_path / 'a.jpg'
  exif = b'Exif\0\0MM\0*\0\0\0\x08\xff\xff' + b'\x01' * 9
  Image.fromarray(_picture()).save(path, exif=exif)
  assert _open(path).width == 60


def test_gray_and_palette(tmp_path):
  gray = Image.fromarray(_picture()).convert('L')
  gray.save(tmp_path / 'gray.png')
  pixels = np.asarray(_open(tmp_path / 'gray.png').image)
  np.testing.assert_array_equal(
    pixels, np.asarray(gray)[..., None] + [[[0] * 3]]
  )
  palette = Image.fromarray(_picture()).quantize(16)
  palette.save(tmp_path / 'palette.png')
  pixels = np.asarray(_open(tmp_path / 'palette.png').image)
  np.testing.assert_array_equal(pixels, np.asarray(palette.convert('RGB')))
  Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / 'bits.png')
  pixels = np.asarray(_open(tmp_path / 'bits.png').image)
  np.testing.assert_array_equal(pixels[..., 0], np.eye(8, dtype=np.uint8) * 255)


def test_transparent_parts_are_white(tmp_path):
  pixels = np.zeros((1, 3, 4), np.uint8)
  pixels[0, :, 3] = 0, 255, 51  # 51 / 255 = 0.2 of black: 204.
  Image.fromarray(pixels).save(tmp_path / 'rgba.png')
  shown = np.asarray(_open(tmp_path / 'rgba.png').image)
  np.testing.assert_array_equal(shown[0, :, 0], [255, 0, 204])
  Image.fromarray(pixels[..., 2:], 'LA').save(tmp_path / 'la.png')
  shown = np.asarray(_open(tmp_path / 'la.png').image)
  np.testing.assert_array_equal(shown[0, :, 0], [255, 0, 204])
  palette = Image.fromarray(np.array([[0, 1]], np.uint8), 'P')
  palette.putpalette([10, 20, 30, 40, 50, 60])
  palette.save(tmp_path / 'p.png', transparency=0)
  shown = np.asarray(_open(tmp_path / 'p.png').image)
  np.testing.assert_array_equal(shown[0], [[255, 255, 255], [40, 50, 60]])


def test_cmyk(tmp_path):
  pixels = np.zeros((16, 16, 4), np.uint8)
  pixels[:, :8] = 0, 255, 255, 0  # Magenta and yellow: red.
  Image.fromarray(pixels, 'CMYK').save(tmp_path / 'a.tif')
  shown = np.asarray(_open(tmp_path / 'a.tif').image)
  np.testing.assert_array_equal(shown[0, 0], [255, 0, 0])
  np.testing.assert_array_equal(shown[0, 15], [255, 255, 255])


@pytest.mark.parametrize(
  ('values', 'shown'),
  [
    (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
    (np.array([[0, 100, 255]], np.uint16), [0, 100, 255]),
    (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
    (np.array([[0, 0.2, 1]], np.float32), [0, 51, 255]),
    (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
  ],
)
def test_more_bits(values, shown, tmp_path):
  path = tmp_path / 'a.tif'
  Image.fromarray(values).save(path)
  np.testing.assert_array_equal(np.asarray(_open(path).image)[0, :, 0], shown)


@pytest.mark.parametrize('value', [-1.0, 70000.0, np.nan])
def test_values_that_are_no_picture(value, tmp_path):
  path = tmp_path / 'a.tif'
  Image.fromarray(np.array([[1, value]], np.float32)).save(path)
  assert 'must be from 0 to 65535' in _reason(path)


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png', 'tif'])
def test_the_first_frame_of_several(suffix, tmp_path):
  path = tmp_path / f'a.{suffix}'
  frames = [Image.new('RGB', (8, 8), color) for color in ('red', 'blue')]
  options = {'lossless': True} if suffix == 'webp' else {}
  frames[0].save(path, save_all=True, append_images=frames[1:], **options)
  with Image.open(path) as image:
    assert image.n_frames == 2
  assert _open(path).image.getpixel((4, 4)) == (255, 0, 0)


def test_large_jpegs_are_decoded_smaller(tmp_path):
  path = tmp_path / 'a.jpg'
  Image.fromarray(_picture(400, 600)).save(path, quality=95)
  photo = _open(path, at_least=90)
  assert photo.image.size == (150, 100)
  assert (photo.width, photo.height) == (600, 400)
  whole = Image.fromarray(_picture(400, 600)).resize((150, 100))
  difference = np.asarray(photo.image, int) - np.asarray(whole, int)
  assert np.abs(difference).mean() < 2
  assert _open(path, at_least=450).image.size == (600, 400)


def test_a_turned_jpeg_that_is_decoded_smaller(tmp_path):
  path = tmp_path / 'a.jpg'
  image = Image.fromarray(_picture(400, 600))
  exif = image.getexif()
  exif[0x0112] = 6
  image.save(path, exif=exif)
  photo = _open(path, at_least=90)
  assert photo.image.size == (100, 150)
  assert (photo.width, photo.height) == (400, 600)


def test_photos_that_are_too_large(tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(_picture()).save(path)
  assert _open(path, max_pixels=2400)
  reason = _reason(path, max_pixels=2399)
  assert 'at most 2,399 pixels, got 60 x 40; make it smaller' in reason


@pytest.mark.parametrize('side', [13_000, 40_000])
def test_a_decompression_bomb(side, tmp_path):
  """A small file that says that it is huge; 13,000 is a warning of Pillow."""

  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc)

  header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
  path = tmp_path / 'a.png'
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(bytes(1000)))
    + chunk(b'IEND', b'')
  )
  reason = _reason(path, max_pixels=100_000_000)
  assert 'must have at most 100,000,000 pixels' in reason


def test_truncated_photos(tmp_path):
  # Noise: of a smooth picture, little is left to be cut off.
  noise = np.random.default_rng(0).integers(256, size=(40, 60, 3))
  for kind in ('JPEG', 'PNG', 'GIF', 'BMP', 'TIFF', 'WEBP'):
    file = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).save(file, kind)
    for part in (0.5, 0.9):
      path = tmp_path / f'{kind}{part}'
      path.write_bytes(file.getvalue()[: int(len(file.getvalue()) * part)])
      reason = _reason(path)
      assert 'copy or download it again' in reason or 'Pillow knows' in reason


@pytest.mark.parametrize('seed', range(20))
def test_damaged_photos_never_raise(seed, tmp_path):
  rng = np.random.default_rng(seed)
  for kind in ('JPEG', 'PNG', 'GIF', 'TIFF', 'WEBP'):
    file = io.BytesIO()
    Image.fromarray(_picture()).save(file, kind)
    content = np.frombuffer(file.getvalue(), np.uint8).copy()
    places = rng.integers(len(content), size=rng.integers(1, 20))
    content[places] = rng.integers(256, size=len(places))
    path = tmp_path / kind
    path.write_bytes(content.tobytes())
    found = opening.open_photo(path)
    if isinstance(found, Unreadable):
      assert '\n' not in found.reason
    else:
      assert found.image.mode == 'RGB'


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('a.jpg', b'', 'it is empty; copy or download it again'),
    ('a.jpg', b'\x00\x01' * 50, 'not an image that Pillow knows'),
    ('a.jpg', b'<!doctype html><p>Not found', 'a web page; download'),
    ('a.jpg', b'some words', "text that begins with 'some words'"),
    ('a.heic', b'\x00\x00\x00\x18ftypheic', 'does not read HEIC; convert it'),
  ],
)
def test_files_that_are_no_photos(name, content, message, tmp_path):
  path = tmp_path / name
  path.write_bytes(content)
  assert message in _reason(path)


def test_files_that_cannot_be_read(tmp_path):
  assert 'No such file' in _reason(tmp_path / 'missing.jpg')
  assert 'Is a directory' in _reason(tmp_path)
