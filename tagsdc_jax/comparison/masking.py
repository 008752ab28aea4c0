"""masking.npz: the distribution of masks, drawn in the compiled graph.

Random quantities are compared by draws with a fixed seed. The bounds, standard
errors of shares and p-values of chi-square tests, are such that correct code
fails for a file with probability FALSE_ALARM, whatever the number of trees.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.comparison import items, masking_law
from tagsdc_jax.comparison.recordings import Arrays, Recordings
from tagsdc_jax.data import phrases as phrases_lib
from tagsdc_jax.negatives import masking

FILE = 'masking.npz'
NUM_DRAWS, FALSE_ALARM, _SEED = 50_000, 1e-3, 0
_RATE = settings.Negatives().mask_rate
_COMPUTED = 1e-6  # Tolerance of probabilities computed in float32.
_TESTS_PER_TREE = 5
_KINDS = ('mask', 'changed', 'same')


@dataclasses.dataclass(frozen=True)
class _Tree:
  """A caption, its phrases, the recorded arrays, and our draws."""

  name: str
  recorded: dict[str, np.ndarray]
  phrases: tuple[tuple[int, ...], ...]
  probs: np.ndarray  # float32 [phrases]
  token_ids: np.ndarray  # int [draws, tokens]
  is_target: np.ndarray  # bool [draws, tokens]

  def kinds(self, mask_id: int) -> dict[str, np.ndarray]:
    """Returns {kind: which targets became it, bool [draws, tokens]}."""
    is_mask = self.is_target & (self.token_ids == mask_id)
    is_same = self.is_target & (self.token_ids == self.recorded['input_ids'])
    return {
      'mask': is_mask,
      'same': is_same,
      'changed': self.is_target & ~is_mask & ~is_same,
    }


@dataclasses.dataclass(frozen=True)
class _Law:
  """The parameters and bounds shared by all trees of the file."""

  num_recorded: int  # Recorded draws of each tree.
  mask_id: int
  random_range: tuple[int, int]
  deviations: float  # Largest deviation of a share, in standard errors.
  least: float  # Smallest p-value of a chi-square test.

  @property
  def tolerance(self) -> str:
    """The bound of shares, in words."""
    return f'{self.deviations:.1f} s.e.'


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for every tree."""
  recorded = recordings.arrays(FILE)
  trees = recordings.note(FILE, 'trees')
  mask_id = recordings.note(FILE, 'mask_id')
  low, high = recordings.note(FILE, 'v_range')
  drawn = _draw(recorded, trees, mask_id, (low, high))
  num_shares = sum(
    array.size
    for tree in drawn
    for key, array in tree.recorded.items()
    if key.startswith('p_')
  )
  law = _Law(
    recordings.note(FILE, 'draws'),
    mask_id,
    (low, high),
    masking_law.deviations(FALSE_ALARM / 2 / max(num_shares, 1)),
    FALSE_ALARM / 2 / (_TESTS_PER_TREE * max(len(drawn), 1)),
  )
  for tree in drawn:
    entry = trees[tree.name]
    yield items.equal(
      FILE,
      f'{tree.name}/phrases',
      sorted(tree.phrases),
      sorted(map(tuple, entry['phrases'])),
      note='read from the tree',
    )
    yield from _compare_tree(tree, entry['phrases'], law)


def _draw(
  recorded: Arrays,
  trees: dict[str, Any],
  mask_id: int,
  random_range: tuple[int, int],
) -> list[_Tree]:
  """Masks every caption NUM_DRAWS times, with one compiled program."""
  longest = max(entry['length'] for entry in trees.values())
  most = max(len(entry['phrases']) for entry in trees.values())
  key = jax.random.key(_SEED)
  drawn = []
  for number, (name, entry) in enumerate(trees.items()):
    arrays, length = recorded.under(f'{name}/'), entry['length']
    read, _ = phrases_lib.phrases_from_tree(entry['tree'], length, name)
    read = read or tuple((i,) for i in range(length))
    # In the recorded order, which is that of the probabilities.
    counts = phrases_lib.phrase_counts(
      entry['phrases'], length, most, longest + 2
    )
    token_ids = np.zeros((1, longest + 2), np.int32)
    token_ids[0, 1 : length + 1] = arrays['input_ids']
    probs, masked = _mask(
      jax.random.fold_in(key, number),
      token_ids,
      counts[None],
      mask_id,
      random_range,
      NUM_DRAWS,
    )
    inside = slice(1, length + 1)
    drawn.append(
      _Tree(
        name,
        arrays,
        read,
        np.asarray(probs)[0, : len(entry['phrases'])],
        np.asarray(masked.token_ids)[0, :, inside],
        np.asarray(masked.is_target)[0, :, inside],
      )
    )
  return drawn


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _mask(
  key: jax.Array,
  token_ids: jax.Array,
  counts: jax.Array,
  mask_id: int,
  random_range: tuple[int, int],
  num_draws: int,
) -> tuple[jax.Array, masking.MaskedText]:
  return masking.phrase_probs(counts, _RATE), masking.mask_tokens(
    key,
    token_ids,
    counts,
    num_copies=num_draws,
    mask_rate=_RATE,
    mask_id=mask_id,
    random_range=random_range,
  )


def _compare_tree(
  tree: _Tree, phrases: Sequence[Sequence[int]], law: _Law
) -> Iterator[items.Item]:
  if 'phrase_prob' in tree.recorded:
    yield items.close(
      FILE,
      f'{tree.name}/phrase_prob',
      tree.probs,
      tree.recorded['phrase_prob'],
      atol=_COMPUTED,
    )
  sets = masking_law.sets_of_targets(phrases, tree.probs.tolist())
  if sets is None:
    yield items.Item(
      FILE,
      f'{tree.name}/p_...',
      items.SKIPPED,
      note='too many sets of targets to enumerate',
    )
  else:
    yield from _compare_targets(tree, sets, law)
  # If no phrase was chosen and one is taken, the release replaces positions two
  # times that the phrase lists twice (docs/quirks.md, 12); we do not.
  is_plain = np.array(
    [
      all(list(phrase).count(x) < 2 for phrase in phrases)
      for x in range(tree.is_target.shape[1])
    ]
  )
  yield from _compare_kinds(tree, is_plain, law)
  yield from _compare_words(tree, is_plain, law)


def _compare_targets(
  tree: _Tree, sets: dict[int, float], law: _Law
) -> Iterator[items.Item]:
  """Compares which positions are targets: exact probabilities, and draws."""
  length = tree.is_target.shape[1]
  exact = masking_law.shares(sets, length)
  hits = tree.is_target.astype(np.float64)
  counts = np.bincount(tree.is_target.sum(axis=1), minlength=length + 1)
  drawn = {
    'p_labelled': hits.mean(axis=0),
    'p_joint': hits.T @ hits / len(hits),
    'p_count': counts / len(hits),
  }
  for key, ours in exact.items():
    if f'analytic_{key}' in tree.recorded:
      yield items.close(
        FILE,
        f'{tree.name}/analytic_{key}',
        ours,
        tree.recorded[f'analytic_{key}'],
        atol=_COMPUTED,
        note='exact, from our probabilities',
      )
    if key in tree.recorded:
      yield items.within(
        FILE,
        f'{tree.name}/{key}',
        drawn[key],
        tree.recorded[key],
        bounds=law.deviations
        * masking_law.standard_errors(ours, len(hits), law.num_recorded)
        + _COMPUTED,
        tolerance=law.tolerance,
        note='both from draws',
      )
  yield items.probable(
    FILE,
    f'{tree.name}/p_count, our draws',
    masking_law.fit_p_value(counts, exact['p_count']),
    law.least,
  )
  # Sets of up to 62 positions fit in an integer.
  if length < 63:
    numbers, found = np.unique(
      tree.is_target @ (1 << np.arange(length, dtype=np.int64)),
      return_counts=True,
    )
    by_set = dict(zip(numbers.tolist(), found.tolist()))
    is_strange = bool(by_set.keys() - sets.keys())
    yield items.probable(
      FILE,
      f'{tree.name}/sets of targets, our draws',
      0.0
      if is_strange
      else masking_law.fit_p_value(
        np.array([by_set.get(s, 0) for s in sets]),
        np.array(list(sets.values())),
      ),
      law.least,
      note=f'{len(sets)} sets',
    )


def _compare_kinds(
  tree: _Tree, is_plain: np.ndarray, law: _Law
) -> Iterator[items.Item]:
  """Compares what targets become: [MASK], another word, or the same.

  Args:
    tree: recorded and drawn.
    is_plain: bool [tokens], positions that the release replaces only once.
    law: of the file.
  """
  note = (
    ''
    if is_plain.all()
    else f'without positions {np.flatnonzero(~is_plain).tolist()}, which the '
    'release sometimes replaces twice'
  )
  kinds, targets = tree.kinds(law.mask_id), tree.is_target.sum(axis=0)
  probs = _kind_probs(tree.recorded['input_ids'], law)
  for kind in _KINDS:
    key = f'p_{kind}_given_labelled'
    if key not in tree.recorded:
      continue
    known = is_plain & (targets > 0) & np.isfinite(tree.recorded[key])
    ours = kinds[kind].sum(axis=0)[known] / targets[known]
    sizes = targets[known], targets[known] / len(kinds[kind]) * law.num_recorded
    yield items.within(
      FILE,
      f'{tree.name}/{key}',
      ours,
      tree.recorded[key][known],
      bounds=law.deviations
      * masking_law.standard_errors(probs[kind][known], *sizes)
      + _COMPUTED,
      tolerance=law.tolerance,
      note=note,
    )
  yield items.probable(
    FILE,
    f'{tree.name}/kinds of targets, our draws',
    masking_law.fit_p_value(
      np.array([kinds[kind].sum() for kind in _KINDS]),
      np.array([probs[kind] @ targets for kind in _KINDS]),
    ),
    law.least,
  )


def _kind_probs(original: np.ndarray, law: _Law) -> dict[str, np.ndarray]:
  """Returns each position's probability of each kind, float [tokens]."""
  low, high = law.random_range
  is_in_range = (original >= low) & (original < high)
  same_word = masking.RANDOM_SHARE * is_in_range / (high - low)
  mask = np.full(len(original), masking.MASK_SHARE)
  changed = masking.RANDOM_SHARE - same_word
  return {'mask': mask, 'changed': changed, 'same': 1 - mask - changed}


def _compare_words(
  tree: _Tree, is_plain: np.ndarray, law: _Law
) -> Iterator[items.Item]:
  """Compares the words that replace targets."""
  words = tree.token_ids[tree.kinds(law.mask_id)['changed']]
  low, high = law.random_range
  if 'random_token_min_max' in tree.recorded:
    theirs = tree.recorded['random_token_min_max']
    # Few draws may not include both ends of a large vocabulary.
    is_sure = len(words) > 30 * (high - low)
    ours = (
      [words.min(), words.max()] if is_sure else np.clip(theirs, low, high - 1)
    )
    yield items.equal(
      FILE,
      f'{tree.name}/random_token_min_max',
      np.array(ours),
      theirs,
      note='' if is_sure else 'inside v_range',
    )
  if 'random_token_hist' in tree.recorded:
    theirs = tree.recorded['random_token_hist']
    ours = np.bincount(words, minlength=len(theirs))[: len(theirs)]
    probs = _word_probs(tree, law, len(theirs))
    for counts, whose in ((theirs, ''), (ours, ', our draws')):
      yield items.probable(
        FILE,
        f'{tree.name}/random_token_hist{whose}',
        masking_law.fit_p_value(counts, probs),
        law.least,
      )
    if not is_plain.all():
      return  # The number of words differs, see `_compare_tree`.
    per_draw = tree.kinds(law.mask_id)['changed'].sum(axis=1)
    yield items.within(
      FILE,
      f'{tree.name}/random_token_hist, words per draw',
      per_draw.mean(),
      theirs.sum() / law.num_recorded,
      bounds=law.deviations
      * per_draw.std()
      * np.sqrt(1 / len(per_draw) + 1 / law.num_recorded),
      tolerance=law.tolerance,
    )


def _word_probs(tree: _Tree, law: _Law, num_words: int) -> np.ndarray:
  """Returns the probability of each word among those that replace targets."""
  low, high = law.random_range
  probs = np.zeros(num_words)
  for word, share in zip(
    tree.recorded['input_ids'], tree.is_target.mean(axis=0)
  ):
    others = np.zeros(num_words)
    others[low:high] = 1
    others[word] = 0
    probs += share * others
  return probs / probs.sum()
