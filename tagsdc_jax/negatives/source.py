"""What a source of negatives is given, and what it proposes.

A source proposes candidates for the positives of a micro-batch: retrieved
images or texts, or sentences that it writes. All of them are scored with the
matcher, and the hardest of each source become negatives.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import struct

from tagsdc_jax import arrays, errors, extensions, settings
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.engines.work import Work


class Keys(NamedTuple):
  """PRNG keys of a source in one micro-batch; each is used once."""

  mask: jax.Array
  refill: jax.Array
  dropout: jax.Array


class Inputs(NamedTuple):
  """What a source is given.

  Attributes:
    engine: runs the network; `engine.task` holds settings and ids.
    params: parameters; a gradient flows to them through `Sentences.losses`.
    start_params: those that the phase began with, None unless a source asks
      for them (`Source.needs_start`).
    batch: positives with their phrases, and the retrieved pool.
    keys: of this source alone.
  """

  engine: Engine
  params: Any
  start_params: Any
  batch: arrays.MicroBatch
  keys: Keys


@struct.dataclass
class Sentences:
  """Sentences written for each positive, C of them.

  What equals another one of the same positive, or a caption of the image (see
  negatives.exclude), is left out by the caller.
  """

  token_ids: jax.Array  # int32 [B, C, L], with [CLS] and [SEP], then [PAD]
  num_tokens: jax.Array  # int32 [B, C], [CLS] and [SEP] included
  is_valid: jax.Array  # bool [B, C], which of them there are
  is_target: jax.Array  # bool [B, C, L], words that were rewritten
  # int32 [B, C, L], the caption's words at these places; -1: there was none.
  originals: jax.Array
  # Losses that writing them trains: name -> float32 [], with gradient.
  losses: dict[str, jax.Array] = struct.field(default_factory=dict)
  # What writing them took, None for next to nothing.
  work: Work | None = None


@struct.dataclass
class Retrieved:
  """Rows of the micro-batch's pool, C of them."""

  rows: jax.Array  # int32 [B, C]
  is_valid: jax.Array  # bool [B, C]
  # int32 [C], the first candidate that is equal to each, whose score serves
  # for both; None: all differ.
  same_as: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Source:
  """A source of negatives.

  Attributes:
    name: for metrics, curves and the page.
    propose: what it proposes; a pure function, run inside the compiled step.
    replaces: 'text' or 'image', what of the positive its candidates replace.
    writes: whether it proposes `Sentences`; else `Retrieved`.
    trains: heads that its losses train.
    needs_start: whether it takes the parameters that the phase began with.
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
  """Returns the sources of some names.

  Args:
    names: keys of `built_in`, or `module:function`: a `Source`, or a function
      that takes `Inputs` and returns `Sentences`, whose name it then bears.
    built_in: sources by name.
    config: says where the user's files lie.
  Raises:
    UserError: if a name is unknown, or stands there twice.
  """
  found = []
  for name in names:
    given = extensions.find(
      name, built_in, 'negatives.sources', config.extensions, Source
    )
    if not isinstance(given, Source):
      given = Source(name.partition(':')[2], given)
    if extensions.is_own(name):
      given = dataclasses.replace(
        given,
        propose=functools.partial(
          extensions.call, given.propose, f'negatives.sources {name}'
        ),
      )
    found.append(given)
  own = [source.name for source in found]
  twice = [name for name in own if own.count(name) > 1]
  if twice:
    raise errors.UserError(
      f'negatives.sources has two sources named {twice[0]}; remove or rename '
      'one'
    )
  return tuple(found)
