"""The embedded world's foils, as a foil file."""

from collections.abc import Sequence

from tagsdc_jax.data import dataset
from tagsdc_jax.data.world import foils, grammar, scenes
from tagsdc_jax.foil_files import records

FAMILY = 'world'
PREFIX = 'world:'


def make(
  data: dataset.RetrievalDataset, drawn: Sequence[scenes.Scene]
) -> records.FoilFile:
  """Returns the foils that training measures, sorted by kind.

  Args:
    data: a split of the world.
    drawn: the scene of each of its pictures.
  """
  made = sorted(
    foils.make_foils(data, drawn),
    key=lambda foil: (foils.KINDS.index(foil.kind), foil.caption),
  )
  split = data.name.split('/')[-1]
  collector = records.Collector(f'{PREFIX}{split}', f'{FAMILY} {split}')
  for foil in made:
    caption = data.captions[foil.caption]
    collector.add(
      records.Item(
        f'{caption.caption_id}-{foil.kind}',
        foil.kind,
        (caption.text,),
        (' '.join(grammar.to_words(foil.token_ids)),),
        (data.image_ids[caption.image],),
      )
    )
  return collector.file()
