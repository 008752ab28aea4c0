"""The interface of sources of negatives.

A source proposes candidates for the positives of a micro-batch: retrieved
images, retrieved texts, or generated sentences. The matcher scores all of them,
and the hardest of each source become negatives.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import struct
from jaxtyping import Bool, Float, Int32, Key

from tagsdc_jax import arrays, errors, extensions, settings
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.engines.work import Work


class Keys(NamedTuple):
  """PRNG keys of a source in one micro-batch; each is used once."""

  mask: Key[Array, '']
  refill: Key[Array, '']
  dropout: Key[Array, '']


class Inputs(NamedTuple):
  """Inputs of a source.

  Attributes:
    engine: runs the network; `engine.task` has the settings and token ids.
    params: parameters, with gradient through `Sentences.losses`.
    start_params: parameters at the start of the phase; None unless a source
      needs them (`Source.needs_start`).
    batch: positives with their phrases, and the retrieved pool.
    keys: PRNG keys of this source alone.
  """

  engine: Engine
  params: Any
  start_params: Any
  batch: arrays.MicroBatch
  keys: Keys


@struct.dataclass
class Sentences:
  """Sentences generated for each positive.

  The caller excludes repeated sentences and those that might be true of the
  image (see negatives.exclude).
  """

  # With [CLS] and [SEP], then [PAD].
  token_ids: Int32[Array, 'B candidates L']
  num_tokens: Int32[Array, 'B candidates']  # Including [CLS] and [SEP].
  is_valid: Bool[Array, 'B candidates']  # Whether there is such a sentence.
  # Words that were refilled or swapped.
  is_target: Bool[Array, 'B candidates L']
  # The caption's words at the same positions; -1: none.
  originals: Int32[Array, 'B candidates L']
  # Losses of generating them, such as MLM, by name; with gradient.
  losses: dict[str, Float[Array, '']] = struct.field(default_factory=dict)
  # The work of generating them; None: negligible.
  work: Work | None = None


@struct.dataclass
class Retrieved:
  """Rows of the micro-batch's pool, retrieved for each positive."""

  rows: Int32[Array, 'B candidates']
  is_valid: Bool[Array, 'B candidates']
  # Index of the first candidate equal to each, whose score serves for both;
  # None: all are distinct.
  same_as: Int32[Array, 'candidates'] | None = None


@dataclasses.dataclass(frozen=True)
class Source:
  """A source of negatives.

  Attributes:
    name: name in metrics, curves and the report.
    propose: returns the candidates; a pure function, run inside the compiled
      step.
    replaces: 'text' or 'image', the part of the positive that its candidates
      replace.
    writes: whether it generates `Sentences`; otherwise it returns `Retrieved`.
    trains: names of the heads that its losses train.
    needs_start: whether it uses the parameters at the start of the phase.
  """

  name: str
  propose: Callable[[Inputs], Sentences | Retrieved]
  replaces: str = 'text'
  writes: bool = True
  trains: tuple[str, ...] = ()
  needs_start: bool = False


def find(
  names: tuple[str, ...],
  built_in: Mapping[str, Source],
  config: settings.Settings,
) -> tuple[Source, ...]:
  """Returns the sources with the given names.

  Args:
    names: keys of `built_in`, or `module:function` for a `Source`, or for a
      function from `Inputs` to `Sentences` that the source is then named after.
    built_in: sources by name.
    config: settings, which locate the user's files.
  Raises:
    UserError: if a name is unknown or used twice.
  """
  sources = []
  for name in names:
    found = extensions.find(
      name, built_in, 'negatives.sources', config.extensions, Source
    )
    if not isinstance(found, Source):
      found = Source(name.partition(':')[2], found)
    if extensions.is_own(name):
      found = dataclasses.replace(
        found,
        propose=functools.partial(
          extensions.call, found.propose, f'negatives.sources {name}'
        ),
      )
    sources.append(found)
  used = [source.name for source in sources]
  twice = [name for name in used if used.count(name) > 1]
  if twice:
    raise errors.UserError(
      f'negatives.sources has two sources named {twice[0]}; remove or rename '
      'one'
    )
  return tuple(sources)
