"""Which picture of the captions is which of the features."""

import pytest

from tagsdc_jax.errors import UserError
from tagsdc_jax.preparing.listing import Picture
from tagsdc_jax.preparing.regions import matching
from tests.preparing.regions import making


def _picture(*names):
  return Picture(names[0], 'train', (), names)


def _coco(ids, prefix='COCO_val2014_'):
  return [
    _picture(f'{prefix}{x:012d}.jpg', f'{prefix}{x:012d}', str(x), str(i))
    for i, x in enumerate(ids)
  ]


def _flickr(count=3):
  names = [f'{1000092795 + i * 977}' for i in range(count)]
  return [_picture(f'{x}.jpg', x, str(i)) for i, x in enumerate(names)]


def _match(pictures, keys):
  return matching.match(pictures, making.Stored(dict.fromkeys(keys)))


_IDS = (391895, 522418, 9)
_NAME = 'COCO_val2014_000000391895'


@pytest.mark.parametrize(
  'form',
  [
    str,
    lambda x: f'{x:012d}',
    lambda x: f'{x:012d}.jpg',
    lambda x: f'COCO_val2014_{x:012d}',
    lambda x: f'COCO_val2014_{x:012d}.jpg',
    lambda x: f'val2014/COCO_val2014_{x:012d}.jpg',
    lambda x: f'coco_val2014_{x:012d}.npz',
    lambda x: f'COCO_train2014_{x:012d}',
  ],
)
def test_names_of_coco(form):
  keys = [form(x) for x in _IDS]
  found = _match(_coco(_IDS), ['other', *keys[::-1], '7'])
  assert found.keys == keys
  assert found.line.startswith('3 of 3 pictures are in a.tsv')
  assert '; missing' not in found.line


@pytest.mark.parametrize(
  'form',
  [
    lambda i, x: x,
    lambda i, x: f'{x}.jpg',
    lambda i, x: f'{x}.npz',
    lambda i, x: f'flickr30k_{int(x):012d}.npz',
    lambda i, x: str(i),
  ],
)
def test_names_of_flickr(form):
  pictures = _flickr()
  keys = [form(i, p.names[1]) for i, p in enumerate(pictures)]
  assert _match(pictures, keys).keys == keys


def test_names_of_flickr8k_in_uniter():
  names = ['1000268201_693b08cb0e', '1001773457_577c3a7d70']
  pictures = [_picture(f'{x}.jpg', x, str(i)) for i, x in enumerate(names)]
  keys = [f'flickr8k_{x}.npz' for x in names]
  assert _match(pictures, keys).keys == keys


def test_the_rule_that_finds_most_is_used_for_all():
  # The position of the first picture is the id of another.
  pictures = _coco([391895, 522418, 0])
  keys = ['391895', '522418', '0', '1']
  found = _match(pictures, keys)
  assert found.keys == ['391895', '522418', '0']
  assert found.rule == 'name 3 of the captions, the same'


def test_missing_pictures_are_named():
  found = _match(_coco(range(1, 9)), ['1', '3', '5'])
  assert found.keys == ['1', None, '3', None, '5', None, None, None]
  assert found.line.endswith(
    '; missing are COCO_val2014_000000000002.jpg, '
    'COCO_val2014_000000000004.jpg, COCO_val2014_000000000006.jpg, ...'
  )


def test_a_rule_with_which_a_name_is_two_pictures_is_not_used():
  pictures = [_picture('a.jpg', '1'), _picture('b.jpg', '2')]
  found = _match(pictures, ['a.png', 'a.npz', 'b.png', '1'])
  assert found.keys == ['1', None]
  # Folders tell these apart.
  pictures = [_picture('x/1.jpg'), _picture('y/1.jpg')]
  with pytest.raises(UserError, match='x/1.jpg and y/1.jpg are 1 by name 1'):
    _match(pictures, ['1'])


def test_nothing_in_common():
  with pytest.raises(
    UserError,
    match='a.tsv must contain the pictures of the captions, but has none of 3: '
    'captions name the first COCO_val2014_000000391895.jpg or .* or 0, the '
    'file names dog, cat; check that they belong together',
  ):
    _match(_coco(_IDS), ['dog', 'cat'])


def test_no_pictures():
  with pytest.raises(UserError, match='no pictures to look up in a.tsv'):
    _match([], ['1'])
