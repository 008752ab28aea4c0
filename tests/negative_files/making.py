"""Records of negatives, as short as can be."""

from tagsdc_jax.negative_files.records import Captioned, Edit, Negative


def negative(caption, old, new, score, kind='object', **changes):
  """Returns the negative in which `new` stands for the first `old`."""
  start = caption.index(old)
  return Negative(
    **{
      'text': caption.replace(old, new, 1),
      'score': score,
      'source': 'mask_refill',
      'edits': (Edit(kind, start, start + len(old), old, new, start),),
      **changes,
    }
  )


def captioned(number, text, score, *negatives, **changes):
  """Returns a caption; two follow each other for each picture."""
  return Captioned(
    **{
      'caption_id': f'c{number}',
      'image_id': f'p{number // 2}.jpg',
      'path': f'photos/p{number // 2}.jpg',
      'text': text,
      'score': score,
      'negatives': negatives,
      **changes,
    }
  )
