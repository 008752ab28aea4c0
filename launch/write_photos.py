"""Writes pictures of the embedded world as if they were somebody's photos.

Run it from the repository:

  python launch/write_photos.py photos

The folder then has 60 PNG files, captions.csv with five captions of each, and
vocab.txt with the words of the captions: what `tagsdc prepare` takes.
"""

import argparse
import csv
import tempfile
from pathlib import Path

from absl import logging

from tagsdc_jax import arguments
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import grammar

_NUMBER = 60


def write_photos(folder: Path, number: int = _NUMBER) -> None:
  """Writes photos, captions and vocabulary.

  Args:
    folder: created if missing.
    number: of pictures, at most 64.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory() as data_dir:
    data = world.load_world('train', data_dir=data_dir, size='tiny')
    with (folder / 'captions.csv').open('w', newline='') as file:
      rows = csv.writer(file)
      rows.writerow(['image', 'caption'])
      for image in range(number):
        picture = world.load_picture(
          'train', image, data_dir=data_dir, size='tiny'
        )
        name = f'picture_{image:02d}.png'
        picture.save(folder / name)
        for caption in data.captions_of_image[image]:
          rows.writerow([name, data.captions[caption].text])
  (folder / 'vocab.txt').write_text('\n'.join(grammar.WORDS) + '\n', 'utf-8')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('folder', type=arguments.folder)
  logging.set_verbosity(logging.ERROR)  # TFDS's notes are not for users.
  folder = parser.parse_args().folder
  write_photos(folder)
  print(f'{folder}: {_NUMBER} pictures, captions.csv, vocab.txt')
