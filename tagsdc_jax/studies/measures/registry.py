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
# Those that ask a language model.
JUDGED = frozenset({'perplexity'})
