"""The measures, by name."""

from collections.abc import Callable, Mapping

from tagsdc_jax.studies.measures import (
  attacks,
  gaps,
  items,
  networks,
  perplexity,
  retrieval,
  verdicts,
  words,
)

# Names are used in studies and in the names of files.
MEASURES: Mapping[str, Callable[[networks.Subject], items.Items]] = {
  'recall': retrieval.recall_at_1,
  'foils': retrieval.foils,
  'half_truths': retrieval.half_truth_foils,
  'attacks': attacks.attacks,
  'verdicts': verdicts.verdicts,
  'perplexity': perplexity.perplexity,
  'words': words.words,
  'gaps': gaps.gaps,
}
# Of numbers whose names do not say what they are.
MEANINGS = {
  'image R@1': 'captions whose picture comes first',
  'text R@1': 'pictures for which one of their captions comes first',
  'foils': 'captions that outscore a foil, in which one detail is made false; '
  'by chance 50 %',
  'half-truths': 'short true captions that outscore a longer half-truth; by '
  'chance 50 %',
}
# Those that ask a language model.
JUDGED = frozenset({'perplexity'})
