"""What a run starts from: fresh weights, or those that `init_from` names."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from tagsdc_jax import errors, settings, shipped
from tagsdc_jax.engines import engine
from tagsdc_jax.models import retrieval
from tagsdc_jax.released import heads
from tagsdc_jax.training import checkpoints, head_init, state

_OTHER_WAYS = (
  'or start from BERT (tagsdc convert BERT OUT --start), or from random '
  f'weights (--config.init_from={settings.FRESH})'
)


def check_given(config: settings.Settings) -> None:
  """Raises UserError if the settings require a start that is not given."""
  if config.init_from != settings.REQUIRED:
    return
  raise errors.UserError(
    'stage 2 starts from the weights of stage 1: pass '
    f'--config.init_from=RUN_DIR of it, or --config.init_from={settings.FRESH} '
    'for random weights'
    if config.phase == 'dc'
    else 'this recipe starts from pretrained weights: convert those of UNITER '
    '(tagsdc convert uniter-base.pt OUT) or of BERT (tagsdc convert '
    'bert-base-cased OUT --start), or pretrain, and pass the folder as '
    f'--config.init_from=FOLDER; --config.init_from={settings.FRESH} starts '
    'from random weights'
  )


def fresh_state(
  task: engine.Task, tx: optax.GradientTransformation, needs_start: bool
) -> state.TrainState:
  """Returns newly initialized parameters in host memory, at update 0."""
  params = jax.tree.map(
    np.asarray,
    retrieval.init_parameters(task.model, jax.random.key(task.settings.seed)),
  )
  return state.TrainState(
    np.int32(0),
    params,
    jax.tree.map(np.asarray, tx.init(params)),
    params if needs_start else None,
  )


def start_phase(task: engine.Task, fresh: state.TrainState) -> state.TrainState:
  """Returns the initial state of a phase, from `init_from` if given.

  Args:
    task: what is fixed during training.
    fresh: from `fresh_state`; supplies the parts that a converted BERT lacks.
  Raises:
    UserError: if there are no such weights, or they do not fit the settings,
      the data or the phase.
  """
  config = task.settings
  params, came_from = fresh.params, settings.PHASES[0]
  if config.init_from not in ('', settings.FRESH):
    loaded = checkpoints.load(shipped.find(config.init_from))
    _check_data(loaded, config)
    checkpoints.check_model(loaded, config)
    given = _completed(loaded, fresh.params)
    checkpoints.check_parameters(given, params, loaded.path)
    params, came_from = given, loaded.about['phase']
    if settings.PHASES.index(came_from) > settings.PHASES.index(config.phase):
      raise errors.UserError(
        f'init_from = {config.init_from} was trained in phase {came_from}, '
        f'which comes after {config.phase}; pass an earlier one'
      )
  start = heads if config.quirks.reset_rank_head else head_init
  params = start.start_heads(params, came_from, config.phase)
  return dataclasses.replace(
    fresh,
    params=params,
    start_params=None if fresh.start_params is None else params,
  )


def _completed(loaded: checkpoints.Loaded, fresh: Any) -> Any:
  """Returns the parameters, with fresh ones for the parts left to the run."""
  left_out = loaded.about.get(checkpoints.FRESH, ())
  return {
    name: fresh[name] for name in left_out if name in fresh
  } | loaded.parameters


def _check_data(loaded: checkpoints.Loaded, config: settings.Settings) -> None:
  """Raises UserError if weights expect another kind of data than there is."""
  saved = loaded.about.get('settings', {})
  features, words = (
    saved.get(f'model.{name}', 0) for name in ('feature_size', 'vocab_size')
  )
  if features not in (0, config.model.feature_size):
    raise errors.UserError(
      f'the weights of {loaded.path} expect {features} numbers per region, but '
      f'the data has {config.model.feature_size}; take region features of the '
      f'detector that they were trained with, {_OTHER_WAYS}'
    )
  if words not in (0, config.model.vocab_size):
    raise errors.UserError(
      f'the weights of {loaded.path} expect a vocabulary of {words} tokens, '
      f'but that of the data has {config.model.vocab_size}; tokenize the '
      f'captions with the vocabulary of the weights, {_OTHER_WAYS}'
    )
