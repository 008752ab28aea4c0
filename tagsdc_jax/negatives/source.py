"""What a source of negatives is given, and what it proposes.

A source proposes candidates for the positives of a micro-batch: retrieved
images or texts, or sentences that it writes. All of them are scored with the
matcher, and the hardest of each source become negatives.
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
  """Sentences written for each positive.

  What equals another one of the same positive, or a caption of the image (see
  negatives.exclude), is left out by the caller.
  """

  # With [CLS] and [SEP], then [PAD].
  token_ids: Int32[Array, 'B candidates L']
  num_tokens: Int32[Array, 'B candidates']  # [CLS] and [SEP] included.
  is_valid: Bool[Array, 'B candidates']  # Which of them there are.
  is_target: Bool[Array, 'B candidates L']  # Words that were rewritten.
  # The caption's words at these places; -1: there was none.
  originals: Int32[Array, 'B candidates L']
  # Losses that writing them trains, by name, with gradient.
  losses: dict[str, Float[Array, '']] = struct.field(default_factory=dict)
  # What writing them took, None for next to nothing.
  work: Work | None = None


@struct.dataclass
class Retrieved:
  """Rows of the micro-batch's pool for each positive."""

  rows: Int32[Array, 'B candidates']
  is_valid: Bool[Array, 'B candidates']
  # The first candidate that is equal to each, whose score serves for both;
  # None: all differ.
  same_as: Int32[Array, 'candidates'] | None = None


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
      name, built_in, 'negatives.sources', config.extensions
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
      f'negatives.sources has {twice[0]} twice; name each source once'
    )
  return tuple(found)
