"""Pictures of a split, as pages show them."""

from collections.abc import Callable

from tagsdc_jax import settings
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.reporting.page import content, pictures
from tagsdc_jax.runs import prepared_examples

ByName = Callable[[str], content.Picture]


def read(
  config: settings.Data, data: dataset.RetrievalDataset, split: str, image: int
) -> content.Picture:
  """Returns a picture with its boxes; without a file if there is none.

  Args:
    config: where the data is.
    data: the split.
    split: its name.
    image: number of the picture.
  Raises:
    UserError: if the data is damaged.
  """
  file, ratio = None, 0.0
  if config.source == 'world':
    file = pictures.to_png(
      world.load_picture(
        split,
        image,
        data_dir=config.root or None,
        size=config.world_size,  # type: ignore[arg-type]
      )
    )
  elif opening.resolved_source(config) == 'prepared':
    file, ratio = prepared_examples.read_photo(config.root, split, image)
  boxes = data.read_regions(image).boxes[:, :4]
  return content.Picture(data.image_ids[image], file, boxes.tolist(), ratio)


def by_name(
  config: settings.Data, data: dataset.RetrievalDataset, split: str
) -> ByName:
  """Returns a function from a picture's name to the picture, as `read` does.

  Other names have a picture without file and boxes.
  """
  numbers = {name: number for number, name in enumerate(data.image_ids)}

  def find(name: str) -> content.Picture:
    if name not in numbers:
      return content.Picture(name, None, ())
    return read(config, data, split, numbers[name])

  return find
