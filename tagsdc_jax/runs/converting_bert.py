"""Converts a BERT to a checkpoint that a run starts from, as UNITER did.

BERT has the text embeddings, the encoder, the pooler and the MLM head. The run
that starts from the checkpoint initializes the rest, because only its data
tells how many numbers a region has.
"""

import dataclasses
from pathlib import Path

from tagsdc_jax import errors, settings
from tagsdc_jax.conversion import bert, converting, model_config
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import converting as release
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import progress
from tagsdc_jax.training import checkpoints

# Hidden sizes of the models by BERT's authors, whose heads are all of size 64.
_GOOGLE = (128, 256, 512, 768, 1024)
_SIZES = (
  'num_layers',
  'hidden_size',
  'num_heads',
  'intermediate_size',
  'max_positions',
  'num_token_types',
)


def to_start(source: Path, target: Path, hints: release.Hints) -> list[str]:
  """Writes a checkpoint from a BERT, whole or not at all.

  Args:
    source: a weight file, or a Hugging Face folder.
    target: new folder.
    hints: what the file does not contain.
  Returns:
    lines for the user: what was read, assumed, left out and written.
  Raises:
    UserError: if it is not a BERT, is incomplete, or cannot be read.
  """
  path, beside = bert.find(source)
  hints = dataclasses.replace(hints, model_config=hints.model_config or beside)
  release.check_folder(source, target)
  known, notes = {}, []
  if hints.model_config:
    notes = bert.check_config(hints.model_config)
    known = model_config.read(hints.model_config)
  with progress.waiting(f'reading {path}'):
    contents = bert.read(path)
    release.check_sizes(path, contents.sizes, hints.model_config, known)
    num_tensors = len(contents.weights)
    weights = contents.weights
    widened = release.settle(weights, 'pretrain', hints.tied, path)
  model = dataclasses.replace(
    hints.config.model, **known | contents.sizes, feature_size=0
  )
  number, reason = _num_heads(model, known, hints, path)
  model = dataclasses.replace(model, num_heads=number)
  # It counts as pretrained: stage 1 and 2 derive their heads from it.
  config = release.settings_of_phase(hints.config, 'pretrain', model)
  params = converting.to_parameters(weights)
  # Of any feature size: the image embeddings are not compared.
  whole = retrieval.parameter_shapes(
    setup.make_model(
      dataclasses.replace(
        config, model=dataclasses.replace(model, feature_size=1)
      )
    )
  )
  fresh = sorted(whole.keys() - params.keys())
  checkpoints.check_parameters(
    params, {name: whole[name] for name in whole if name in params}, path
  )
  release.export(target, params, config, path, fresh)
  sizes = ', '.join(f'{name} {getattr(model, name)}' for name in _SIZES)
  dropped, wrapper = contents.dropped, contents.wrapper
  return [
    f'{path}: BERT, {num_tensors} tensors, {sizes}, vocab_size '
    f'{model.vocab_size}',
    f'num_heads {number}, {reason}',
    *notes,
    *([f'removed the prefix {wrapper} from names'] if wrapper else []),
    *release.widening_lines(widened),
    *([f'skipped, not used here: {", ".join(dropped)}'] if dropped else []),
    'not in the file, initialized by the run that starts from it: '
    f'{", ".join(fresh)}',
    f'wrote {target}, for {_flags(target, model)}',
  ]


def _flags(target: Path, model: settings.Model) -> str:
  """Returns the flags of a run that starts from the checkpoint.

  All of them: a config may have other sizes than the standard ones.
  """
  return ' '.join(
    [
      f'--config.init_from={target}',
      *(f'--config.model.{name}={getattr(model, name)}' for name in _SIZES),
    ]
  )


def _num_heads(
  model: settings.Model, known: dict, hints: release.Hints, path: Path
) -> tuple[int, str]:
  """Returns the number of heads and where it comes from; guesses with care."""
  is_told = hints.num_heads is not None or 'num_heads' in known
  if not is_told and model.hidden_size not in _GOOGLE:
    raise errors.UserError(
      f'the number of attention heads is not in {path}, and hidden_size '
      f'{model.hidden_size} is not that of a BERT with heads of 64: pass '
      f'--model-config with its {bert.CONFIG}, or --num-heads'
    )
  return release.num_heads(model, known, hints)
