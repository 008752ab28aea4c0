"""Measures what a candidate costs in `tagsdc generate`, and in training.

  python launch/measure_generate.py --config own_small_tags \
      --config.data.root=DATA

Both write K x S sentences of the same captions and score them with the same
network: training in one program, of which it keeps the hardest; `generate`
also on the host, where it filters and writes them down. They run in turns;
the medians count. With random weights, which cost as much as trained ones.
"""

import functools
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from tagsdc_jax import arguments, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.data import assembling, opening, trigrams
from tagsdc_jax.models import retrieval
from tagsdc_jax.negative_files import choosing
from tagsdc_jax.negatives import candidates, mask_refill, mining, source
from tagsdc_jax.runs import sentence_batches, sentence_programs, setup
from tagsdc_jax.runtime import parallel
from tagsdc_jax.settings import kinds
from tagsdc_jax.training import keys

_SOURCES = (mask_refill.MASK_REFILL,)


def main() -> None:
  """Measures and prints medians and their ratio."""
  parser = arguments.Parser(description=__doc__)
  configs.add_option(parser, is_required=True)
  count = arguments.of_kind(kinds.Whole(1, 10_000))
  parser.add_argument('--captions', type=count, default=64)
  parser.add_argument('--turns', type=count, default=7)
  args, rest = parser.parse_known_args()
  config = configs.load(
    args.config,
    [
      '--config.negatives.num_copies=20',
      '--config.negatives.num_samples=20',
      *rest,
    ],
  )
  sides = _sides(config, args.captions)
  seconds: dict[str, list[float]] = {name: [] for name in sides}
  for turn in range(args.turns + 1):  # The first one compiles.
    for name, run in sides.items():
      start = time.perf_counter()
      run()
      if turn:
        seconds[name].append(time.perf_counter() - start)
  number = args.captions * 400
  medians = {name: statistics.median(found) for name, found in seconds.items()}
  for name, found in medians.items():
    print(
      f'{name}: {1e6 * found / number:.0f} us per candidate, '
      f'{args.captions / found:.2f} captions a second'
    )
  print(f'ratio: {medians["generate"] / medians["training"]:.3f}')


def _sides(
  config: settings.Settings, count: int
) -> dict[str, Callable[[], None]]:
  """Returns what runs the captions, in training and in `generate`."""
  data = opening.open_split(config.data, 'train', config.extensions)
  config = setup.with_data_sizes(config, data)
  shapes = assembling.shapes_of(data)
  devices = tuple(parallel.local_devices(1))
  params = retrieval.init_parameters(
    setup.make_model(config), jax.random.key(0)
  )
  network = sentence_programs.Network(
    config,
    parallel.replicate(jax.tree.map(np.asarray, params), devices),
    None,
    devices,
  )
  programs = sentence_programs.Programs(network, data, shapes, _SOURCES, 0)
  positives = sentence_batches.positives_of(400)
  batches = sentence_batches.Batches(
    data, shapes, config.seed, positives, devices
  )
  numbers = list(range(count))
  choose = choosing.Chooser(
    choosing.Limits(4, 2, True, None, -10.0),
    data.vocabulary,
    trigrams.Model([c.token_ids for c in data.captions], data.vocabulary),
  )

  def generate() -> None:
    for group in sentence_batches.write(batches, programs, [programs], numbers):
      for one in group:
        choose(
          data.captions[one.number],
          [],
          choosing.Candidates(
            one.token_ids,
            one.num_tokens,
            one.is_valid,
            one.scores[0, 1:],
            None,
            ['mask_refill'] * len(one.is_valid),
          ),
        )

  step = parallel.pmap_function(
    functools.partial(
      _mine, setup.make_engine(setup.make_task(config, data, shapes))
    ),
    devices,
  )
  # As many positives as training has.
  train = sentence_batches.Batches(
    data, shapes, config.seed, config.batch.positives, devices
  )

  def training() -> None:
    found = None
    for start in range(0, count, train.positives):
      _, made = train.make([numbers[start : start + train.positives]])
      found = step(network.params, parallel.put(made, devices))
    jax.block_until_ready(found)

  return {'training': training, 'generate': generate}


def _mine(own, params, batch):
  """The candidates' share of a training step."""
  drawn = keys.micro_batch_keys(0, jax.numpy.int32(0), batch.number)
  table, proposed = candidates.propose(
    _SOURCES,
    source.Inputs(
      own,
      params,
      params,
      batch,
      source.Keys(drawn.mask, drawn.refill, drawn.dropout),
    ),
  )
  return mining.hardest(own, params, table, proposed, [5])


if __name__ == '__main__':
  main()
