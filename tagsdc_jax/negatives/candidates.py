"""Candidates: the pairs from which the hard negatives are selected.

Each source proposes candidates for every positive. A candidate is a pair of a
row of texts and a row of images in one table that all sources share.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Bool, Int

from tagsdc_jax import arrays, errors
from tagsdc_jax.arrays import Array
from tagsdc_jax.negatives import filters, source


@struct.dataclass
class Table:
  """Texts and images: the positives', the pool's, then generated sentences."""

  texts: arrays.Texts
  images: arrays.Images


@struct.dataclass
class Candidates:
  """The candidates of one source for each positive."""

  text_rows: Int[Array, 'B candidates']  # Rows of the table.
  image_rows: Int[Array, 'B candidates']
  is_valid: Bool[Array, 'B candidates']
  same_as: Int[Array, 'candidates'] | None  # See `source.Retrieved`.
  # Generated sentences; None if the source retrieves.
  sentences: source.Sentences | None


def propose(
  sources: Sequence[source.Source], inputs: source.Inputs
) -> tuple[Table, tuple[Candidates, ...]]:
  """Returns the candidates of every source, generated sentences filtered.

  Args:
    sources: called in order. The first source that generates sentences uses the
      keys unchanged; each later one folds its number into them.
    inputs: inputs of all sources.
  Returns:
    The table, and the candidates of each source.
  Raises:
    UserError: if a source returns another type, shape or dtype than declared.
  """
  batch = inputs.batch
  table = Table(
    *(
      jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own, pool)
      for own, pool in (
        (batch.texts, batch.pool_texts),
        (batch.images, batch.pool_images),
      )
    )
  )
  num_positives = batch.texts.num_tokens.shape[0]
  own = jnp.arange(num_positives, dtype=jnp.int32)[:, None]
  result = []
  num_generators = 0
  for one in sources:
    keys = (
      source.Keys(
        *(jax.random.fold_in(key, num_generators) for key in inputs.keys)
      )
      if num_generators
      else inputs.keys
    )
    proposed = one.propose(inputs._replace(keys=keys))
    _check(one, proposed, batch)
    same_as = sentences = None
    if isinstance(proposed, source.Sentences):
      num_generators += 1
      proposed = _filtered(
        proposed, batch, inputs.engine.task.settings.negatives.exclude
      )
      shape, first = proposed.is_valid.shape, table.texts.num_tokens.shape[0]
      rows = first + jnp.arange(
        proposed.is_valid.size, dtype=jnp.int32
      ).reshape(shape)
      table = dataclasses.replace(
        table,
        texts=arrays.Texts(
          *(
            jnp.concatenate([a, b.reshape(-1, *a.shape[1:])])
            for a, b in (
              (table.texts.token_ids, proposed.token_ids),
              (table.texts.num_tokens, proposed.num_tokens),
            )
          )
        ),
      )
      sentences = proposed
    else:
      shape, rows = proposed.rows.shape, num_positives + proposed.rows
      same_as = proposed.same_as
    rows_of = {'text': own, 'image': own} | {one.replaces: rows}
    result.append(
      Candidates(
        jnp.broadcast_to(rows_of['text'], shape),
        jnp.broadcast_to(rows_of['image'], shape),
        proposed.is_valid,
        same_as,
        sentences,
      )
    )
  return table, tuple(result)


def _filtered(
  sentences: source.Sentences, batch: arrays.MicroBatch, exclude: str
) -> source.Sentences:
  """Returns the sentences, those that cannot be negatives marked invalid."""
  return dataclasses.replace(
    sentences,
    is_valid=sentences.is_valid
    & filters.valid_candidates(
      sentences.token_ids,
      batch.texts.token_ids,
      batch.references,
      exclude=exclude,
    ),
  )


def _check(one: source.Source, proposed: Any, batch: arrays.MicroBatch) -> None:
  """Raises UserError unless a source returns what it declares."""
  kind = source.Sentences if one.writes else source.Retrieved
  if not isinstance(proposed, kind):
    raise errors.UserError(
      f'the source {one.name} of negatives.sources must return '
      f'source.{kind.__name__}, got {type(proposed).__name__}'
    )
  num_positives, length = batch.texts.token_ids.shape
  _check_array(one, proposed, 'is_valid', (num_positives, None), jnp.bool_)
  shape = proposed.is_valid.shape
  expected: dict[str, tuple[tuple[int, ...], Any]]
  if one.writes:
    expected = {
      'num_tokens': (shape, jnp.int32),
      'token_ids': ((*shape, length), jnp.int32),
      'is_target': ((*shape, length), jnp.bool_),
      'originals': ((*shape, length), jnp.int32),
    }
  else:
    expected = {'rows': (shape, jnp.int32)}
  for name, (sizes, dtype) in expected.items():
    _check_array(one, proposed, name, sizes, dtype)


def _check_array(
  one: source.Source,
  proposed: Any,
  name: str,
  sizes: tuple[int | None, ...],
  dtype: Any,
) -> None:
  """Raises UserError unless an array has the shape and dtype declared."""
  value = getattr(proposed, name)
  shape, kind = (getattr(value, x, None) for x in ('shape', 'dtype'))
  if (
    isinstance(shape, tuple)
    and arrays.shape_fits(shape, sizes)
    and kind == dtype
  ):
    return
  wanted = ', '.join('candidates' if x is None else str(x) for x in sizes)
  got = type(value).__name__ if shape is None else f'{kind} {list(shape)}'
  raise errors.UserError(
    f'the source {one.name} of negatives.sources: {name} must be '
    f'{jnp.dtype(dtype).name} [{wanted}], got {got}'
  )
