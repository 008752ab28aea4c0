"""All candidates of a micro-batch, as rows of one table of texts and images."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tagsdc_jax import arrays, errors
from tagsdc_jax.negatives import filters, source


@struct.dataclass
class Table:
  """The positives' own, then the pool's, then what the sources wrote."""

  texts: arrays.Texts
  images: arrays.Images


@struct.dataclass
class Candidates:
  """What one source proposes, C for each positive."""

  text_rows: jax.Array  # int32 [B, C], rows of the table
  image_rows: jax.Array  # int32 [B, C]
  is_valid: jax.Array  # bool [B, C]
  same_as: jax.Array | None  # int32 [C], see `source.Retrieved`
  sentences: source.Sentences | None  # Of a source that writes.


def propose(
  sources: Sequence[source.Source], inputs: source.Inputs
) -> tuple[Table, tuple[Candidates, ...]]:
  """Asks every source, and filters what they wrote.

  Args:
    sources: asked in order. The first one that writes draws with the keys as
      they are, the others with keys folded with their number.
    inputs: for all of them.
  Returns:
    The table, and the candidates of each source.
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
  found = []
  num_writers = 0
  for one in sources:
    keys = (
      source.Keys(
        *(jax.random.fold_in(key, num_writers) for key in inputs.keys)
      )
      if num_writers
      else inputs.keys
    )
    given = one.propose(inputs._replace(keys=keys))
    _check(one, given, batch)
    same_as = sentences = None
    if isinstance(given, source.Sentences):
      num_writers += 1
      given = _filtered(
        given, batch, inputs.engine.task.settings.negatives.exclude
      )
      shape, first = given.is_valid.shape, table.texts.num_tokens.shape[0]
      rows = first + jnp.arange(given.is_valid.size, dtype=jnp.int32).reshape(
        shape
      )
      table = dataclasses.replace(
        table,
        texts=arrays.Texts(
          *(
            jnp.concatenate([a, b.reshape(-1, *a.shape[1:])])
            for a, b in (
              (table.texts.token_ids, given.token_ids),
              (table.texts.num_tokens, given.num_tokens),
            )
          )
        ),
      )
      sentences = given
    else:
      shape, rows = given.rows.shape, num_positives + given.rows
      same_as = given.same_as
    rows_of = {'text': own, 'image': own} | {one.replaces: rows}
    found.append(
      Candidates(
        jnp.broadcast_to(rows_of['text'], shape),
        jnp.broadcast_to(rows_of['image'], shape),
        given.is_valid,
        same_as,
        sentences,
      )
    )
  return table, tuple(found)


def _filtered(
  sentences: source.Sentences, batch: arrays.MicroBatch, exclude: str
) -> source.Sentences:
  """Returns sentences less those that are no negatives."""
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


def _check(one: source.Source, given: Any, batch: arrays.MicroBatch) -> None:
  """Raises UserError unless a source gives what it says."""
  kind = source.Sentences if one.writes else source.Retrieved
  if not isinstance(given, kind):
    raise errors.UserError(
      f'the source {one.name} of negatives.sources must return '
      f'source.{kind.__name__}, got {type(given).__name__}'
    )
  num_positives, length = batch.texts.token_ids.shape
  _check_array(one, given, 'is_valid', (num_positives, None), jnp.bool_)
  shape = given.is_valid.shape
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
    _check_array(one, given, name, sizes, dtype)


def _check_array(
  one: source.Source,
  given: Any,
  name: str,
  sizes: tuple[int | None, ...],
  dtype: Any,
) -> None:
  value = getattr(given, name)
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
