"""Images as users name them."""

import dataclasses

import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import naming, opening
from tagsdc_jax.settings import Data


@pytest.fixture(name='data', scope='module')
def _data(world_dir):
  config = Data(root=world_dir, world_size='tiny')
  return opening.open_split(config, 'test')


def test_names_and_numbers_of_a_command_line(data):
  names = naming.Names(data, 30)
  texts = ('test-00007', '7', '07', '24', '-1', '', '7.0', '٧', 'x')
  assert [names.image_of_text(text) for text in texts] == [
    *(7, 7, 7),
    *[None] * 6,
  ]


def test_names_that_are_digits_are_no_numbers(data):
  # As COCO's ids.
  own = dataclasses.replace(data, image_ids=[str(9 + i) for i in range(24)])
  names = naming.Names(own, 30)
  assert names.image_of_text('9') == 0 and names.image_of_text('32') == 23
  assert names.image_of_text('3') is None
  assert names.images(3) == [3]


def test_an_unknown_name_is_answered_with_the_nearest(data):
  names = naming.Names(data, 30)
  with pytest.raises(errors.UserError, match="'test-00012' or 'test-0"):
    names.images('Test_00012')
  assert "such as 'test-00000', got 'Test_00012'" in names.no_image(
    'Test_00012', is_brief=True
  )
