"""Pair losses: the losses of positives and their selected negatives.

Contains the built-in losses (triplet, word discrimination, word correction) and
finds those that a phase uses. A user's loss is a `PairLoss`, or a function that
takes the settings and returns one; a config names it as `module:function` in
`losses.pairs`.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Float, Int

from tagsdc_jax import errors, extensions, settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.losses import triplet, words

# Names of the heads that a loss may train; for word heads, the argument of
# `read` that returns the logits of each.
MATCH_HEADS = ('pooler', 'rank_output')
WORD_HEADS = {
  'mlm_logits': 'mlm_output',
  'disc_logits': 'disc_output',
  'correction_logits': 'correction_output',
}


@struct.dataclass
class Match:
  """How well texts and images match."""

  logits: Float[Array, '...']  # Raw matching scores.
  probs: Float[Array, '...']  # Sigmoid of the scores.


@struct.dataclass
class Words:
  """Words of generated sentences, and of the original captions."""

  token_ids: Int[Array, '... L']
  originals: Int[Array, '... L']  # The caption's words; -1: none.
  is_token: Bool[Array, '... L']  # Not padding.
  is_target: Bool[Array, '... L']  # Words that were refilled or swapped.


@dataclasses.dataclass(frozen=True)
class PairLoss:
  """A loss of positives and their selected negatives.

  Attributes:
    name: name in metrics, curves and the report.
    function: the unreduced loss.
      Reading matching scores: (positive: Match [rows], negative: Match [rows])
      -> float32 [rows], the loss of each negative.
      Coupled: (positive: Match [B], negatives: Match [B, sources, H],
      is_filled: bool [B, sources, H]) -> float32 [B], the loss of each
      positive.
      Reading words: (read, states [..., D], token_ids [...], originals [...])
      -> float32 [...], the loss of each word; `read(head, states)` returns
      logits [..., n], see WORD_HEADS.
    heads: names of the heads that it trains besides the encoder.
    weight: weight of its mean per positive; for losses that read matching
      scores, multiplied by the weight of the source.
    reads_words: whether it reads the words of generated sentences instead of
      matching scores.
    only_targets: for losses that read words: whether only targets count.
    is_coupled: whether it couples the pairs of a positive; needs
      compute.engine=padded.
  """

  name: str
  function: Callable[..., Float[Array, '...']]
  heads: tuple[str, ...] = MATCH_HEADS
  weight: float = 1.0
  reads_words: bool = False
  only_targets: bool = False
  is_coupled: bool = False


def triplet_of(config: settings.Settings) -> PairLoss:
  """Returns the triplet loss on matching probabilities."""

  def function(positive: Match, negative: Match) -> Float[Array, '...']:
    return triplet.triplet_loss(
      positive.probs, negative.probs, margin=config.losses.margin
    )

  return PairLoss('triplet', function)


def discrimination_of(
  config: settings.Settings, cross_entropy: words.CrossEntropy = words.word_loss
) -> PairLoss:
  """Returns word discrimination: was this word replaced?"""
  losses = config.losses

  def function(
    read: Callable[..., Float[Array, '...']],
    states: Float[Array, '*words D'],
    token_ids: Int[Array, '*words'],
    originals: Int[Array, '*words'],
  ) -> Float[Array, '*words']:
    return words.discrimination_loss(
      read('disc_logits', states),
      token_ids == originals,
      replaced_weight=losses.replaced_weight,
      kept_weight=losses.kept_weight,
      cross_entropy=cross_entropy,
    )

  return PairLoss(
    'discrimination',
    function,
    ('disc_output',),
    losses.discrimination,
    reads_words=True,
  )


def correction_of(
  config: settings.Settings, cross_entropy: words.CrossEntropy = words.word_loss
) -> PairLoss:
  """Returns word correction: which word was it?"""

  def function(
    read: Callable[..., Float[Array, '...']],
    states: Float[Array, '*words D'],
    token_ids: Int[Array, '*words'],
    originals: Int[Array, '*words'],
  ) -> Float[Array, '*words']:
    del token_ids
    return cross_entropy(read('correction_logits', states), originals)

  return PairLoss(
    'correction',
    function,
    ('correction_output',),
    config.losses.correction,
    reads_words=True,
    only_targets=True,
  )


# Keys are the names used in `losses.pairs`.
BUILT_IN: dict[str, Callable[[settings.Settings], PairLoss]] = {
  'triplet': triplet_of,
  'discrimination': discrimination_of,
  'correction': correction_of,
}
# Used where `losses.pairs` is empty.
OF_PHASE = {
  'tags': ('triplet',),
  'dc': ('triplet', 'discrimination', 'correction'),
}


def of_settings(config: settings.Settings) -> tuple[PairLoss, ...]:
  """Returns the pair losses of a phase.

  Raises:
    UserError: if a user's loss is unsuitable, or two losses have the same name.
  """
  losses = []
  for name in config.losses.pairs or OF_PHASE[config.phase]:
    loss = extensions.find(
      name, BUILT_IN, 'losses.pairs', config.extensions, PairLoss
    )
    if not isinstance(loss, PairLoss):
      loss = extensions.call(loss, f'losses.pairs {name}', config)
    if not isinstance(loss, PairLoss):
      raise errors.UserError(
        f'losses.pairs names {name}, which must be a PairLoss or a function '
        f'that returns one, got {type(loss).__name__}'
      )
    if extensions.is_own(name):
      _check(loss, name, config.compute.engine)
      loss = dataclasses.replace(
        loss,
        function=functools.partial(
          extensions.call, loss.function, f'losses.pairs {name}'
        ),
      )
    losses.append(loss)
  names = [loss.name for loss in losses]
  twice = [name for name in names if names.count(name) > 1]
  if twice:
    raise errors.UserError(
      f'losses.pairs has two losses named {twice[0]}; remove or rename one'
    )
  return tuple(losses)


def mean_per_positive(
  loss: PairLoss,
  values: Float[Array, 'B H'] | Float[Array, 'B H L'],
  is_filled: Bool[Array, 'B H'],
  of_words: Words | None,
) -> Float[Array, 'B']:
  """Returns the mean loss of a source's negatives; linear in the values.

  Args:
    loss: a loss that is not coupled.
    values: losses of pairs, or of words if the loss reads words.
    is_filled: whether there is such a negative.
    of_words: words [B, H, L], for a loss that reads words.
  """
  if of_words is None or not loss.reads_words:
    return words.masked_mean(values, is_filled, 1)
  counts = of_words.is_target if loss.only_targets else of_words.is_token
  return words.masked_mean(values, counts & is_filled[..., None], (1, 2))


_ROWS, _LENGTH, _HIDDEN, _VOCABULARY = 6, 5, 4, 11


def _check(loss: PairLoss, name: str, engine: str) -> None:
  """Raises UserError unless a user's loss meets its engine's requirements.

  Tries the loss on random scores and states. `packed` runs pairs in any order
  and grouping, and skips the backward pass of pairs whose loss is 0.
  """
  known = (*MATCH_HEADS, *WORD_HEADS.values())
  unknown = [head for head in loss.heads if head not in known]
  problem = ''
  if unknown:
    problem = f'heads must be some of {", ".join(known)}, got {unknown[0]}'
  elif loss.is_coupled and loss.reads_words:
    problem = 'a loss that reads words cannot be coupled'
  elif loss.is_coupled and engine == 'packed':
    problem = (
      'it couples pairs, which compute.engine=packed cannot do; set '
      'compute.engine=padded'
    )
  elif loss.is_coupled:
    problem = extensions.call(_problem_of_coupled, f'losses.pairs {name}', loss)
  else:
    problem = extensions.call(_problem_of_rows, f'losses.pairs {name}', loss)
  if problem:
    raise errors.UserError(f'losses.pairs names {name}: {problem}')


def _problem_of_coupled(loss: PairLoss) -> str:
  """Returns what is wrong with a coupled loss, or ''."""
  shape = (3, 2, _ROWS)
  positive, negatives = _random_match(shape[:1], 0), _random_match(shape, 1)
  value = loss.function(positive, negatives, jnp.ones(shape, bool))
  return _wrong_shape(value, shape[:1])


def _problem_of_rows(loss: PairLoss) -> str:
  """Returns what is wrong with a loss that is not coupled, or ''."""
  shape: tuple[int, ...] = (_ROWS,)
  if loss.reads_words:
    shape = (_ROWS, _LENGTH)
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.random.normal(keys[0], (*shape, _HIDDEN))
    ids, originals = (
      jax.random.randint(key, shape, 0, _VOCABULARY) for key in keys[1:]
    )
    run = functools.partial(_run_words, loss, ids, originals)
  else:
    states = jax.random.normal(jax.random.key(0), (2, *shape)) * 3
    run = functools.partial(_run_match, loss)
  values = run(states)
  if problem := _wrong_shape(values, shape):
    return problem
  if not bool(jnp.all(jnp.isfinite(values))):
    return 'it returns numbers that are not finite'
  if bool(jnp.any(values < 0)):
    return f'it must not be negative, got {float(jnp.min(values)):g}'
  # d loss of one row / d states of another.
  rows = jax.jacrev(lambda x: run(x).reshape(_ROWS, -1).sum(1))(states)
  if not loss.reads_words:
    rows = jnp.moveaxis(rows, 1, -1)
  touched = jnp.any(rows.reshape(_ROWS, _ROWS, -1) != 0, axis=-1)
  if bool(jnp.any(touched & ~jnp.eye(_ROWS, dtype=bool))):
    return (
      'the loss of a pair depends on other pairs; declare is_coupled=True '
      'and set compute.engine=padded'
    )
  per_row = values.reshape(_ROWS, -1).sum(1)
  if bool(jnp.any(jnp.any(touched, axis=1) & (per_row == 0))):
    return (
      'its gradient must be 0 where it is 0; compute.engine=packed '
      'skips the backward pass there'
    )
  return ''


def _wrong_shape(values: Any, shape: Sequence[int]) -> str:
  found = getattr(values, 'shape', None)
  return (
    ''
    if found == tuple(shape)
    else (
      f'it must return one number per pair or word, {tuple(shape)}, got '
      f'{found or type(values).__name__}'
    )
  )


def _random_match(shape: tuple[int, ...], seed: int) -> Match:
  logits = 3 * jax.random.normal(jax.random.key(seed), shape)
  return Match(logits, jax.nn.sigmoid(logits))


def _run_match(loss: PairLoss, logits: Float[Array, '2 rows']) -> Any:
  return loss.function(*(Match(x, jax.nn.sigmoid(x)) for x in logits))


def _run_words(
  loss: PairLoss,
  ids: Int[Array, 'rows L'],
  originals: Int[Array, 'rows L'],
  states: Float[Array, 'rows L D'],
) -> Any:
  sizes = {
    'disc_logits': 2,
    'mlm_logits': _VOCABULARY,
    'correction_logits': _VOCABULARY,
  }

  def read(
    head: str, x: Float[Array, '*words D']
  ) -> Float[Array, '*words classes']:
    matrix = jax.random.normal(jax.random.key(7), (_HIDDEN, sizes[head]))
    return jnp.matmul(x, matrix)

  return loss.function(read, states, ids, originals)
