"""Filters of false negatives: which refilled sentences are left out."""

from collections.abc import Sequence

from tagsdc_jax.studies.study import Arm, Base, Run, Study

_LABELS = {
  'caption': 'what equals the caption',
  'image': 'what equals a caption of the picture',
  'words': "what is made of the words of the picture's captions",
}


def _arms(base: Base) -> Sequence[Arm]:
  del base
  runs = {
    name: Run(f'exclude_{name}', 'tags', {'negatives.exclude': name})
    for name in _LABELS
  }
  return (
    Arm('pretraining', None),
    *(
      Arm(_LABELS[name], run, _LABELS['image'] if name != 'image' else '')
      for name, run in runs.items()
    ),
  )


STUDY = Study(
  'filters',
  'Filters of false negatives',
  'Refilled sentences may be true of the picture after all. Does it matter '
  'which of them are left out in training?',
  _arms,
)
