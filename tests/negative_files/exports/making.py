"""A small file of negatives in which every edit is known."""

import re

from tagsdc_jax.negative_files import records

PHOTO = b'\xff\xd8\xff\xe0 a photo of '
TRICKY = 'Two "big"\tdogs,\nrun\r’s café ### it\'s'


def span(text, words, occurrence=0):
  """Returns [start, end) of words that stand in a text as whole words."""
  found = list(re.finditer(rf'(?<!\w){re.escape(words)}(?!\w)', text))
  return found[occurrence].span()


def negative(caption, *changes, score=0.5, source='mask_refill'):
  """Returns a negative; a change is (kind, old, new, which occurrence)."""
  places = sorted(
    (*span(caption, old, *rest), kind, old, new)
    for kind, old, new, *rest in changes
  )
  text, done, edits = '', 0, []
  for start, end, kind, old, new in places:
    text += caption[done:start]
    edits.append(records.Edit(kind, start, end, old, new, len(text)))
    text += new
    done = end
  return records.Negative(text + caption[done:], score, source, tuple(edits))


def phrases(caption, **of_kind):
  """Returns phrases; each is words, or several stretches of words."""
  return tuple(
    records.Phrase(
      kind,
      tuple(
        span(caption, one)
        for one in ([words] if isinstance(words, str) else words)
      ),
    )
    for kind, listed in of_kind.items()
    for words in listed
  )


MAN = 'A man in a red coat holds a small white dog'
DOGS = 'A dog chases a cat'
CAPTIONS = (
  records.Captioned(
    '1',
    '9',
    'COCO_train2014_000000000009.jpg',
    MAN,
    3.0,
    phrases=phrases(
      MAN,
      object=['man', 'coat', 'dog'],
      attribute=['red', 'small', 'white'],
      relation=['in', 'holds'],
    ),
    negatives=(
      negative(MAN, ('object', 'dog', 'cat'), score=2.5),
      negative(MAN, ('attribute', 'red', 'blue'), score=2.0),
      negative(MAN, ('relation', 'holds', 'is next to'), score=1.5),
      negative(
        MAN, ('object', 'man', 'coat'), ('object', 'coat', 'man'), score=1.0
      ),
      negative(
        MAN, ('object', 'dog', 'hat'), ('attribute', 'white', 'old'), score=0.5
      ),
      negative(MAN, ('token', 'in', 'with'), score=0.25),
    ),
  ),
  records.Captioned(
    '2',
    '9',
    'COCO_train2014_000000000009.jpg',
    'Someone carries an animal',
    2.0,
    negatives=(
      negative('Someone carries an animal', ('object', 'animal', 'egg')),
    ),
  ),
  records.Captioned(
    '3',
    '25',
    'COCO_train2014_000000000025.jpg',
    DOGS,
    1.0,
    phrases=phrases(DOGS, object=['dog', 'cat'], relation=['chases']),
    negatives=(
      negative(
        DOGS,
        ('object', 'dog', 'cat'),
        ('object', 'cat', 'dog'),
        source='word_swap',
      ),
      negative(DOGS, ('relation', 'chases', 'chases away')),
    ),
  ),
  records.Captioned(
    '4', '25', 'COCO_train2014_000000000025.jpg', 'Nothing to change', 1.0
  ),
  records.Captioned(
    '5',
    '30',
    'more/COCO_train2014_000000000030.jpg',
    TRICKY,
    1.0,
    negatives=(
      negative(TRICKY, ('object', 'dogs', '"cats"')),
      negative(TRICKY, ('object', 'café', "d'eau\n")),
      negative(TRICKY, ('token', 'it', '🐕')),
      negative(TRICKY, ('attribute', 'Two', '[\'3\', "4"]\\')),
    ),
  ),
)


def write(path, captions=CAPTIONS, photos='', **counts):
  """Writes a file of negatives; returns it opened."""
  header = {
    'data': {'name': 'mine', 'split': 'train', 'photos': str(photos)},
    'counts': {'captions': len(captions)} | counts,
  }
  path.write_bytes(
    records.header_line(header) + b''.join(map(records.to_line, captions))
  )
  return records.File(path)


def write_photos(folder, captions=CAPTIONS):
  """Writes a file for each picture."""
  for one in captions:
    path = folder / one.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PHOTO + one.path.encode())
