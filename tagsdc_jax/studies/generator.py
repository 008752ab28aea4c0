"""Who writes the negatives: the matcher, a frozen network, swaps, or chance."""

from collections.abc import Sequence

from tagsdc_jax.studies.study import Arm, Base, Run, Study

_SHARED = 'shared with the matcher (dynamic)'


def _arms(base: Base) -> Sequence[Arm]:
  del base
  sources = lambda name: {'negatives.sources': ('images', 'texts', name)}
  return (
    Arm('pretraining', None),
    Arm(_SHARED, Run('tags', 'tags')),
    Arm(
      'frozen (static)',
      Run('static_refill', 'tags', sources('static_refill')),
      _SHARED,
    ),
    Arm(
      'two phrases swapped',
      Run('word_swap', 'tags', sources('word_swap')),
      _SHARED,
    ),
    # At such a temperature all words are about as probable.
    Arm(
      'random words',
      Run('random_words', 'tags', {'negatives.temperature': 1000.0}),
      _SHARED,
    ),
  )


STUDY = Study(
  'generator',
  'Who writes the negatives',
  'The paper lets the matcher write its own negatives, so that both improve '
  'together. Is that better than a frozen language head, than swapping two '
  'phrases of the caption, and than random words?',
  _arms,
  notes='Swaps and frozen refills train without the masked language modeling '
  'loss, which only the shared generator has.',
)
