"""trajectory_*.npz: complete training updates with the recorded choices."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tagsdc_jax import settings
from tagsdc_jax.comparison import gradients, items, replaying
from tagsdc_jax.comparison.recordings import Arrays, Recordings, clip_norm
from tagsdc_jax.conversion import converting
from tagsdc_jax.engines import work
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.negatives import filters
from tagsdc_jax.released import objective, pair_rows, selection
from tagsdc_jax.runs import setup
from tagsdc_jax.training import optimizer, state, step

FILES = {
  'trajectory_stage1.npz': 'fixed',
  'trajectory_stage1_as_released.npz': 'as_released',
  'trajectory_stage2.npz': 'fixed',
}
_PARAMETERS = 2e-5
_SPECIAL = 2  # [CLS] and [SEP]


@struct.dataclass
class Details:
  """Intermediate results of one positive's losses."""

  parts: dict[str, jax.Array]  # float32 [] each, including the total, `loss`
  images: pair_rows.Ranked
  texts: pair_rows.Ranked
  sentences: pair_rows.Ranked
  text_rows: pair_rows.Rows
  ranked_by: jax.Array  # float32 [G], the sentences' scores minus penalties


def make_comparison(file: str) -> Callable[[Recordings], Iterator[items.Item]]:
  """Returns the comparison of one file of FILES."""
  return lambda recordings: _compare(recordings, file)


def _compare(recordings: Recordings, file: str) -> Iterator[items.Item]:
  recorded = recordings.arrays(file)
  variant = FILES[file]
  engine = _engine(recordings, file, recorded)
  start = recorded.under('param_init/')
  examples = [
    _example(recordings, recorded, engine, number)
    for number in range(len(recorded['txt_index']))
  ]
  run = _Run(engine, converting.to_parameters(start))
  share = recordings.note(file, 'options', 'train_batch_size')
  found = []
  for first in range(0, len(examples), share):
    found.append(run.update(examples[first : first + share]))
    after = f'param_after_{run.updates}/'
    if f'{after}rank_output.weight' in recorded:
      yield from _parameters(
        recordings, file, run, recorded.under(after), after, start, variant
      )
  details = [d for of_update, _ in found for d in of_update]
  terms = recordings.note(file, 'loss_names')
  yield from _losses(file, recorded, details, terms, share, variant)
  yield from _updates(
    file, recorded, [metrics for _, metrics in found], variant
  )
  yield from _selections(file, recorded, engine, details, variant)
  yield from _parameters(
    recordings,
    file,
    run,
    recorded.under('param_final/'),
    'param_final/',
    start,
    variant,
  )


def _engine(recordings: Recordings, file: str, recorded: Arrays) -> Engine:
  options = recordings.note(file, 'options')
  phase = 'dc' if 'disc' in recordings.note(file, 'loss_names') else 'tags'
  beta1, beta2 = options['betas']
  share = options['train_batch_size']
  return replaying.engine_of(
    recordings,
    phase,
    FILES[file],
    num_updates=len(recorded['txt_index']) // share
    if 'num_train_steps' not in options
    else options['num_train_steps'],
    losses=settings.Losses(
      margin=options['margin'], **gradients.weights_of(options)
    ),
    negatives=settings.Negatives(
      pool_size=options['negative_size'],
      num_hard=options['hard_neg_size'],
      num_copies=options['mlm_sample_size'],
      num_samples=options['nsgd_sample_size'],
      exclude='caption',
      temperature=options['nsgd_sample_temperature'],
    ),
    optimizer=settings.Optimizer(
      learning_rate=options['learning_rate'],
      warmup_updates=options['warmup_steps'],
      weight_decay=options['weight_decay'],
      beta1=beta1,
      beta2=beta2,
      clip_norm=clip_norm(options),
    ),
  )


def _example(
  recordings: Recordings, recorded: Arrays, engine: Engine, number: int
) -> replaying.Example:
  """Returns positive `number` with its choices, in the form training uses."""
  vocabulary = recordings.vocabulary()
  length = recorded['texts/ids'].shape[1] + _SPECIAL

  def texts(numbers: np.ndarray) -> Any:
    lengths = recorded['texts/len'][numbers]
    ids = np.full((len(numbers), length), vocabulary.pad)
    for row, size, own in zip(ids, lengths, recorded['texts/ids'][numbers]):
      row[: size + _SPECIAL] = [vocabulary.cls, *own[:size], vocabulary.sep]
    return replaying.texts_of(ids, lengths + _SPECIAL, length)

  def images(numbers: np.ndarray) -> Any:
    features, boxes = (
      recorded[f'images/{key}'][numbers] for key in ('features', 'boxes7')
    )
    return replaying.images_of(
      features, boxes, recorded['images/num'][numbers], features.shape[1]
    )

  retrieved = recorded['i_txt_index'][number]
  own_images = [recorded[key][number] for key in ('img_index', 'i_img_index')]
  recorded['txt_index']  # Marked as used: the caption is recorded separately.
  return replaying.example_of(
    recorded,
    f'p{number:02d}/',
    engine.task.settings.negatives.num_samples,
    images=images(np.array(own_images)),
    length=length,
    second=texts(retrieved[:1]),
    pool_texts=texts(retrieved[1:]),
    pool_images=images(recorded['t_neg_img_index'][number]),
  )


class _Run:
  """Runs our train step, update by update."""

  def __init__(self, engine: Engine, params: Any) -> None:
    tx, self._step = _train_step(engine)
    self.state = state.TrainState(jnp.int32(0), params, tx.init(params))
    self._details = functools.partial(_details, engine)
    self.updates = 0

  def update(
    self, examples: list[replaying.Example]
  ) -> tuple[list[Details], dict[str, float]]:
    """Returns all positives' details before the update, and its metrics."""
    details = [
      jax.device_get(self._details(self.state.params, example))
      for example in examples
    ]
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *examples)
    self.state, metrics = self._step(self.state, stacked)
    self.updates += 1
    return details, {k: float(v) for k, v in metrics.items()}


@functools.cache
def _train_step(engine: Engine) -> tuple[Any, Callable]:
  """Returns the optimizer and the train step for a recording."""
  config = engine.task.settings
  tx = optimizer.make_optimizer(
    config.optimizer,
    config.num_updates,
    setup.make_phase(engine.task).untrained,
  )
  return tx, jax.jit(
    step.make_train_step(
      config, functools.partial(_objective, engine), tx, None
    )
  )


def _objective(
  engine: Engine,
  params: Any,
  start_params: Any,
  example: replaying.Example,
  batch_keys: Any,
) -> tuple[jax.Array, Any]:
  """The train step's objective, with recorded choices instead of draws."""
  del start_params
  completed = replaying.complete(engine, params, example, batch_keys.dropout)
  loss, metrics, _ = objective.losses_of(
    engine,
    params,
    example.batch,
    completed.sentences,
    completed.mlm,
    batch_keys.dropout,
  )
  # The work of a replayed update is not used.
  return loss, (metrics, work.rows(jnp.zeros(1, jnp.int32)))


@functools.partial(jax.jit, static_argnums=0)
def _details(
  engine: Engine, params: Any, example: replaying.Example
) -> Details:
  key = jax.random.key(0)  # Unused: there is no dropout.
  batch = example.batch
  own = objective.positive_of(batch, 0)
  completed = replaying.complete(engine, params, example, key)
  written = completed.sentences
  loss, found, (images, texts, sentences) = objective.losses_of(
    engine, params, batch, written, completed.mlm, key
  )
  penalties = selection.penalties(
    filters.is_reference(written.token_ids, own.texts.token_ids[:, None]),
    selection.is_repeated(
      written.token_ids, last_copy=engine.task.settings.quirks.last_copy
    ),
  )
  scores = _scores(engine, sentences.match_logits)
  return Details(
    found | {'loss': loss},
    images,
    texts,
    sentences,
    objective.text_rows(
      engine.task.settings.quirks, objective.positive_of(batch, -1)
    ),
    scores[1:] - penalties[0],
  )


def _scores(engine: Engine, logits: jax.Array) -> jax.Array:
  """Returns the scores that sentences are ranked by, before penalties."""
  is_stage1 = engine.task.settings.phase == 'tags'
  return logits if is_stage1 else jax.nn.sigmoid(logits)


def _losses(
  file: str,
  recorded: Arrays,
  details: list[Details],
  terms: list[str],
  share: int,
  variant: str,
) -> Iterator[items.Item]:
  """Yields one item per update: the losses of its positives."""
  ours = np.array(
    [
      [d.parts[f'loss/{gradients.TERMS[term]}'] for term in terms]
      for d in details
    ]
  )
  totals = np.array([d.parts['loss'] for d in details])
  for name, values in (('losses', ours), ('total_loss', totals)):
    for first in range(0, len(values), share):
      rows = slice(first, first + share)
      yield items.close(
        file,
        f'{name}, update {first // share + 1}',
        values[rows],
        recorded[name][rows],
        atol=replaying.LOSS,
        variant=variant,
      )


def _updates(
  file: str, recorded: Arrays, metrics: list[dict[str, float]], variant: str
) -> Iterator[items.Item]:
  for key, ours, rtol in (
    ('grad_norm', 'gradient_norm', 1e-4),
    ('lr', 'learning_rate', 1e-6),
  ):
    yield items.close(
      file,
      key,
      np.array([m[ours] for m in metrics]),
      recorded[key],
      atol=0.0,
      rtol=rtol,
      variant=variant,
    )


def _selections(
  file: str,
  recorded: Arrays,
  engine: Engine,
  details: list[Details],
  variant: str,
) -> Iterator[items.Item]:
  """Yields items for all positives' candidates: scores and selection."""
  num_hard = engine.task.settings.negatives.num_hard
  for path, ranked in (
    ('t', [d.images for d in details]),
    ('i', [d.texts for d in details]),
  ):
    logits = np.stack([r.match_logits for r in ranked])
    yield items.close(
      file,
      f'scores_{path}',
      logits,
      recorded[f'scores_{path}'],
      atol=2 * _PARAMETERS,
      variant=variant,
    )
    yield items.as_sets(
      file,
      f'selected_{path}',
      1 + np.stack([r.indices for r in ranked]),
      recorded[f'selected_{path}'],
      variant=variant,
    )
    yield items.close(
      file,
      f'gap_{path}',
      [replaying.gap(x[1:], num_hard) for x in logits],
      recorded[f'gap_{path}'],
      atol=4 * _PARAMETERS,
      variant=variant,
    )
  yield items.close(
    file,
    'gap_gi',
    [replaying.gap(np.asarray(d.ranked_by), num_hard) for d in details],
    recorded['gap_gi'],
    atol=4 * _PARAMETERS,
    variant=variant,
  )
  of_sentences = [
    _of_sentence(file, recorded, engine, number, d, variant)
    for number, d in enumerate(details)
  ]
  for name in of_sentences[0]:
    yield items.largest([found[name] for found in of_sentences], name)


def _of_sentence(
  file: str,
  recorded: Arrays,
  engine: Engine,
  number: int,
  found: Details,
  variant: str,
) -> dict[str, items.Item]:
  """Returns {name: item} for one positive's sentences."""
  prefix = f'p{number:02d}/'
  index = np.concatenate(replaying.gather_index(found.text_rows))
  theirs = recorded[f'{prefix}i_gather_index']
  mask = np.asarray(found.text_rows.mask)[:, : theirs.shape[1]]
  return {
    'pNN/scores_gi': items.close(
      file,
      f'{prefix}scores_gi',
      np.asarray(_scores(engine, found.sentences.match_logits)),
      recorded[f'{prefix}scores_gi'],
      atol=2 * _PARAMETERS,
      variant=variant,
    ),
    'pNN/selected_gi': items.as_sets(
      file,
      f'{prefix}selected_gi',
      1 + found.sentences.indices,
      recorded[f'{prefix}selected_gi'],
      variant=variant,
    ),
    'pNN/i_gather_index': items.equal(
      file, f'{prefix}i_gather_index', index, theirs[mask], variant=variant
    ),
  }


def _parameters(
  recordings: Recordings,
  file: str,
  run: _Run,
  theirs: Mapping[str, np.ndarray],
  prefix: str,
  start: Mapping[str, np.ndarray],
  variant: str,
) -> Iterator[items.Item]:
  """Compares the parameters; those without gradient must be unchanged."""
  expected = converting.to_parameters(theirs)
  ours = jax.tree.map(np.asarray, run.state.params)
  compared = [
    items.close(
      file,
      jax.tree_util.keystr(path, simple=True, separator='/'),
      a,
      b,
      atol=_PARAMETERS,
      variant=variant,
    )
    for (path, a), (_, b) in zip(
      jax.tree_util.tree_leaves_with_path(ours),
      jax.tree_util.tree_leaves_with_path(expected),
      strict=True,
    )
  ]
  yield items.largest(compared, prefix.removesuffix('/'))
  still = recordings.note(file, 'unchanged_parameters')
  before = converting.to_parameters({key: start[key] for key in still})
  for path, leaf in jax.tree_util.tree_leaves_with_path(before):
    now = functools.reduce(lambda tree, entry: tree[entry.key], path, ours)
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    yield items.equal(file, f'{prefix}{name} stays', now, leaf, variant=variant)
