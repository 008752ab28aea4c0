"""gradients.npz: gradients of each loss term and of the sum, for a positive."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.comparison import hard_negatives, items, replaying, synthetic
from tagsdc_jax.comparison.recordings import Arrays, Recordings
from tagsdc_jax.conversion import converting
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.losses import total
from tagsdc_jax.objectives import parts as parts_of
from tagsdc_jax.released import objective

FILE = 'gradients.npz'
STAGES = {'stage1': 'tags', 'stage2': 'dc'}
_ABSOLUTE, _RELATIVE = 5e-6, 1e-4
# The recordings' names of loss terms, and ours.
TERMS = {
  'mlm': 'mlm',
  'rank_syn': 'triplet_mask_refill',
  'disc': 'discrimination_mask_refill',
  'corr': 'correction_mask_refill',
  'rank_i': 'triplet_texts',
  'rank_t': 'triplet_images',
}
_RELEASED = 'rank_i_released_gather'
# Terms of retrieved candidates: name, path and variant.
_RANKED = (
  ('rank_t', 't', 'fixed'),
  ('rank_i', 'i', 'fixed'),
  (_RELEASED, 'i', 'as_released'),
)
_WORD_HEADS = ('disc_output', 'correction_output')
# The recordings' names of loss weights, and ours.
WEIGHTS = {
  'mlm_lambda': 'mlm',
  'nsgd_rank_lambda': 'synthetic',
  'disc_lambda': 'discrimination',
  'correction_lambda': 'correction',
}


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items per term and stage; gradients by their worst parameter."""
  recorded = recordings.arrays(FILE)
  for stage, phase in STAGES.items():
    if f'{stage}/loss/mlm' in recorded:
      yield from _compare_stage(recordings, recorded, stage, phase)


def _compare_stage(
  recordings: Recordings, recorded: Arrays, stage: str, phase: str
) -> Iterator[items.Item]:
  weights = recordings.weights(synthetic.WEIGHTS[phase])
  params = converting.to_parameters(weights)
  recorded.under(f'{stage}/in/')  # Inputs: marks all of them as used.
  losses, grads = _sentence_terms(recordings, recorded, stage, phase, params)
  for term, path, variant in _RANKED:
    found = _rank_term(recordings, recorded, stage, path, variant, params)
    losses[term], grads[term] = found.loss, found.gradient
  terms = [term for term in (*TERMS, _RELEASED) if term in losses]
  for term in terms:
    variant = 'as_released' if term == _RELEASED else 'fixed'
    prefix = f'{stage}/grad/{term}/'
    yield items.close(
      FILE,
      f'{stage}/loss/{term}',
      losses[term],
      recorded[f'{stage}/loss/{term}'],
      atol=replaying.LOSS,
      variant=variant,
    )
    yield compare_gradients(
      prefix, grads[term], weights, recorded.under(prefix), variant
    )
  for name, lambdas in recordings.note(FILE, 'lambdas').items():
    yield from _compare_total(
      recorded,
      f'{stage}/total_{name}/',
      losses,
      grads,
      weights,
      phase,
      _losses(recordings, lambdas),
    )


def _compare_total(
  recorded: Arrays,
  prefix: str,
  losses: dict[str, Any],
  grads: dict[str, Any],
  weights: Mapping[str, np.ndarray],
  phase: str,
  config: settings.Losses,
) -> Iterator[items.Item]:
  """Compares the weighted sum; its gradient follows by the chain rule."""
  parts = {
    ours: np.reshape(losses[term], 1)
    for term, ours in TERMS.items()
    if term in losses
  }
  lambdas = parts_of.of_settings(
    settings.Settings(phase=phase, losses=config)
  ).weights
  loss, factors = jax.device_get(
    jax.value_and_grad(total.weighted_sum)(parts, lambdas)
  )
  names = [term for term in TERMS if term in losses]
  grad = jax.tree.map(
    lambda *xs: sum(factors[TERMS[term]][0] * x for term, x in zip(names, xs)),
    *(grads[term] for term in names),
  )
  yield items.close(
    FILE,
    f'{prefix}loss',
    loss,
    recorded[f'{prefix}loss'],
    atol=replaying.LOSS,
    variant='fixed',
  )
  yield compare_gradients(
    f'{prefix}grad/', grad, weights, recorded.under(f'{prefix}grad/'), 'fixed'
  )
  key = f'{prefix}grad_global_norm'
  yield items.close(
    FILE,
    key,
    np.linalg.norm([np.linalg.norm(x) for x in jax.tree.leaves(grad)]),
    recorded[key],
    atol=_ABSOLUTE,
    rtol=_RELATIVE,
    variant='fixed',
  )


def _losses(
  recordings: Recordings, lambdas: Mapping[str, float]
) -> settings.Losses:
  return settings.Losses(
    margin=recordings.note(FILE, 'margin'), **weights_of(lambdas)
  )


def weights_of(theirs: Mapping[str, Any]) -> dict[str, Any]:
  """Returns our loss weights for the recordings'."""
  return {ours: float(theirs[name]) for name, ours in WEIGHTS.items()}


def _rank_term(
  recordings: Recordings,
  recorded: Arrays,
  stage: str,
  path: str,
  variant: str,
  params: Any,
) -> hard_negatives.RankOutcome:
  # Stage 1 in both cases, since the program is the same.
  engine = replaying.engine_of(
    recordings,
    'tags',
    variant,
    losses=settings.Losses(margin=recordings.note(FILE, 'margin')),
    negatives=settings.Negatives(
      num_hard=recordings.note(FILE, 'hard_size_ti')
    ),
  )
  regions = max(
    recorded[f'{name}/in/{path}/img_feat'].shape[1]
    for name in STAGES
    if f'{name}/in/{path}/img_feat' in recorded
  )
  batch = hard_negatives.batch_of(
    recorded, f'{stage}/in/{path}/', path, regions
  )
  used = {key: params[key] for key in params if key not in _WORD_HEADS}
  outcome = jax.device_get(hard_negatives.rank(engine, path, used, batch))
  zeros = jax.tree.map(
    np.zeros_like, {key: params[key] for key in params if key in _WORD_HEADS}
  )
  return outcome.replace(gradient=outcome.gradient | zeros)


def _sentence_terms(
  recordings: Recordings, recorded: Arrays, stage: str, phase: str, params: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns losses and gradients of the terms of refilled sentences."""
  prefix = f'{stage}/in/gi/'
  masked = len(recorded[f'{prefix}mlm_input_ids'])
  engine = replaying.engine_of(
    recordings,
    phase,
    'fixed',
    losses=settings.Losses(margin=recordings.note(FILE, 'margin')),
    negatives=settings.Negatives(
      num_hard=recordings.note(FILE, 'hard_size_gi'),
      exclude='caption',
      temperature=recordings.note(FILE, 'temperature'),
      num_copies=masked,
      num_samples=len(recorded[f'{prefix}fill_input_ids']) // masked,
    ),
  )
  example = synthetic.example_of(
    recorded,
    prefix,
    engine,
    recorded[f'{prefix}input_ids'].shape[1],
    len(recorded[f'{prefix}img_feat']),
  )
  losses, grads = jax.device_get(_sentence_gradients(engine, params, example))
  names = [term for term, ours in TERMS.items() if ours in losses]
  # `_sentence_gradients` stacks them by sorted name.
  places = {ours: i for i, ours in enumerate(sorted(losses))}
  return (
    {term: losses[TERMS[term]] for term in names},
    {
      term: jax.tree.map(lambda x, i=places[TERMS[term]]: x[i], grads)
      for term in names
    },
  )


@functools.partial(jax.jit, static_argnums=0)
def _sentence_gradients(
  engine: Engine, params: Any, example: replaying.Example
) -> tuple[dict[str, jax.Array], Any]:
  """Returns the losses, and their gradients stacked by sorted name."""
  key = jax.random.key(0)  # Unused: there is no dropout.

  def losses_of(params: Any) -> dict[str, jax.Array]:
    completed = replaying.complete(engine, params, example, key)
    found, *_ = objective.sentence_losses(
      engine, params, example.batch, completed.sentences, key
    )
    found |= {'mlm': completed.mlm}
    return {name: jnp.mean(loss) for name, loss in found.items()}

  losses, pull_back = jax.vjp(losses_of, params)
  names = sorted(losses)

  def gradient(row: jax.Array) -> Any:
    return pull_back({name: row[i] for i, name in enumerate(names)})[0]

  # Sequential, so that the backward pass is compiled once.
  return losses, jax.lax.map(gradient, jnp.eye(len(names)))


def compare_gradients(
  name: str,
  ours: Any,
  weights: Mapping[str, np.ndarray],
  theirs: Mapping[str, np.ndarray],
  variant: str,
) -> items.Item:
  """Compares a gradient by parameter and returns the item of the worst one.

  Args:
    name: of the item.
    ours: gradient of our parameters.
    weights: all of the release's parameters.
    theirs: {name: gradient}; missing gradients are zero.
    variant: of the recordings.
  """
  filled = converting.to_parameters(
    {key: theirs.get(key, np.zeros_like(w)) for key, w in weights.items()}
  )
  return items.largest(
    [
      items.close(
        FILE,
        jax.tree_util.keystr(path, simple=True, separator='/'),
        a,
        b,
        atol=_ABSOLUTE,
        rtol=_RELATIVE,
        variant=variant,
      )
      for (path, a), (_, b) in zip(
        jax.tree_util.tree_leaves_with_path(ours),
        jax.tree_util.tree_leaves_with_path(filled),
        strict=True,
      )
    ],
    name.removesuffix('/'),
  )
