"""Converts between the release's files and our checkpoints."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files, settings, shipped
from tagsdc_jax.conversion import (
  checking,
  converting,
  model_config,
  name_rules,
  reading,
  tying,
)
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import folder, setup
from tagsdc_jax.runtime import progress
from tagsdc_jax.training import checkpoints, head_init

# Size of an attention head in UNITER.
_HEAD_SIZE = 64
# Settings of the network that follow from the shapes of parameters.
_SHAPED = (
  'num_layers',
  'hidden_size',
  'intermediate_size',
  'max_positions',
  'num_token_types',
  'vocab_size',
  'feature_size',
)
_LOADED_BY = {
  'pretrain': 'for stage 1 of the release to start from (--checkpoint)',
  'tags': 'for UniterForNSGD',
  'dc': 'for UniterForNSGD2',
}


@dataclasses.dataclass(frozen=True)
class Hints:
  """What a weight file does not contain."""

  config: settings.Settings  # Data, dropout and everything but the sizes.
  model_config: Path | None = None  # The release's JSON.
  num_heads: int | None = None
  tied: str | None = None  # One of tying.COPIES.


def to_checkpoint(source: Path, target: Path, hints: Hints) -> list[str]:
  """Writes a checkpoint from a file of the release, whole or not at all.

  Heads missing from the file are initialized as in the phase that trains them.

  Args:
    source: `.pt` or `.safetensors`: pretrained UNITER, stage 1 or stage 2.
    target: new folder.
    hints: what the file does not contain.
  Returns:
    lines for the user: what was read, assumed, left out and written.
  Raises:
    UserError: if the file does not match exactly, or cannot be read.
  """
  reading.check_name(source)
  check_folder(source, target)
  known = model_config.read(hints.model_config) if hints.model_config else {}
  with progress.waiting(f'reading {source}'):
    named, wrapper = checking.unwrapped(reading.read(source), source)
    weights = checking.with_modern_names(named, source)
    del named
    contents = checking.check(weights, source)
    check_sizes(source, contents.sizes, hints.model_config, known)
    for name in contents.dropped:
      del weights[name]
    num_tensors = len(weights)
    widened = settle(weights, contents.phase, hints.tied, source)
  model = dataclasses.replace(hints.config.model, **known | contents.sizes)
  number, reason = num_heads(model, known, hints)
  config = settings_of_phase(
    hints.config, contents.phase, dataclasses.replace(model, num_heads=number)
  )
  params = head_init.start_heads(
    converting.to_parameters(weights), contents.phase, settings.PHASES[-1]
  )
  del weights  # Layers are copied into stacks.
  checkpoints.check_parameters(
    params, retrieval.parameter_shapes(setup.make_model(config)), source
  )
  export(target, params, config, source)
  sizes = ', '.join(f'{name} {getattr(config.model, name)}' for name in _SHAPED)
  lines = [
    f'{source}: {checking.LAYOUTS[contents.phase]}, {num_tensors} '
    f'tensors, {sizes}',
    f'num_heads {number}, {reason}',
  ]
  lines += [f'removed the prefix {wrapper} from all names'] if wrapper else []
  lines += widening_lines(widened)
  lines += (
    [
      f'skipped {len(contents.dropped)} tensors of heads that only '
      f'pretraining uses: {", ".join(contents.dropped)}'
    ]
    if contents.dropped
    else []
  )
  lines += (
    [
      'not in the file, initialized as in the phase that trains them: '
      f'{", ".join(name_rules.heads_after(contents.phase))}'
    ]
    if name_rules.heads_after(contents.phase)
    else []
  )
  return [
    *lines,
    f'wrote {target}, for --config.init_from={target} and tagsdc evaluate',
  ]


def to_file(source: str, target: Path) -> list[str]:
  """Writes a file for the release from a checkpoint, whole or not at all.

  Args:
    source: run folder, checkpoint, or `shipped:NAME`.
    target: new `.pt` or `.safetensors` file.
  Returns:
    lines for the user: what was written and left out.
  Raises:
    UserError: if there is no checkpoint, or the file cannot be written.
  """
  reading.check_name(target)
  _check_new(target)
  files.check_target(target)
  loaded = checkpoints.load(shipped.find(source))
  phase, config = loaded.about['phase'], checkpoints.settings_of(loaded)
  checkpoints.check_parameters(
    loaded.parameters,
    retrieval.parameter_shapes(setup.make_model(config)),
    loaded.path,
  )
  weights = converting.from_parameters(loaded.parameters, phase)
  del loaded
  with progress.waiting(f'writing {target}'):
    files.write_whole(
      target,
      lambda file: reading.write(Path(file.name), target.suffix, weights),
    )
  left_out = name_rules.heads_after(phase)
  lines = (
    [
      f'left out, because {checking.LAYOUTS[phase]} has not trained them: '
      f'{", ".join(left_out)}'
    ]
    if left_out
    else []
  )
  return [
    *lines,
    f'wrote {target}: {checking.LAYOUTS[phase]}, '
    f'{len(weights)} tensors, num_heads {config.model.num_heads}, '
    f'{_LOADED_BY[phase]}',
  ]


def settle(
  weights: dict[str, np.ndarray], phase: str, tied: str | None, source: Path
) -> dict[str, int]:
  """Makes a file's weights finite float32 without tied copies, in place.

  Args:
    weights: {the release's name: array}.
    phase: one of settings.PHASES.
    tied: which copy of the word embedding to keep; None: they must agree.
    source: the file, for messages.
  Returns:
    {dtype in the file: number of arrays that were converted}.
  Raises:
    UserError: if numbers are not finite, or copies differ.
  """
  checking.check_finite(weights, source)
  widened = converting.to_float32(weights)
  checking.check_finite(weights, source, is_rounded=True)
  tying.settle(weights, phase, tied, source)
  return widened


def widening_lines(widened: dict[str, int]) -> list[str]:
  """Returns lines on what `converting.to_float32` did."""
  return [
    f'{count} tensors were {kind}: '
    + (
      'rounded to float32'
      if kind == 'float64'
      else 'converted to float32 exactly'
    )
    for kind, count in widened.items()
  ]


def check_sizes(
  source: Path,
  actual: dict[str, int],
  config: Path | None,
  expected: dict[str, Any],
) -> None:
  """Raises UserError unless the sizes agree with the model config."""
  differing = [
    f'{name} is {actual[name]} in {source}, {expected[name]} in {config}'
    for name in _SHAPED
    if name in actual and expected.get(name, actual[name]) != actual[name]
  ]
  if differing:
    raise errors.UserError(
      f'{"; ".join(differing)}; pass the config that belongs to the weights'
    )


def num_heads(
  model: settings.Model, known: dict[str, Any], hints: Hints
) -> tuple[int, str]:
  """Returns the number of attention heads, and where it comes from."""
  from_flag, from_config = hints.num_heads, known.get('num_heads')
  if from_flag is not None and from_config not in (None, from_flag):
    raise errors.UserError(
      f'--num-heads is {from_flag}, but {hints.model_config} '
      f'has {from_config}; pass only one of them'
    )
  if from_flag is not None:
    number, reason = from_flag, 'from --num-heads'
  elif from_config is not None:
    number, reason = from_config, f'from {hints.model_config}'
  else:
    number, reason = (
      model.hidden_size // _HEAD_SIZE,
      (
        f'assumed: hidden_size / {_HEAD_SIZE}, as in UNITER; if that is wrong, '
        'so are the scores: then pass --model-config or --num-heads'
      ),
    )
    if model.hidden_size % _HEAD_SIZE:
      raise errors.UserError(
        'the number of attention heads is not in the weights, and '
        f'hidden_size {model.hidden_size} is not a multiple of {_HEAD_SIZE}; '
        'pass --model-config or --num-heads'
      )
  if number < 1 or model.hidden_size % number:
    raise errors.UserError(
      f'hidden_size {model.hidden_size} must be divisible by the number of '
      f'attention heads, got {number}; pass the number that the weights '
      'were trained with'
    )
  return number, reason


def settings_of_phase(
  base: settings.Settings, phase: str, model: settings.Model
) -> settings.Settings:
  """Returns the base settings, made valid for the phase."""
  negatives = base.negatives
  if phase == 'pretrain':
    negatives = dataclasses.replace(
      negatives,
      num_in_batch=min(negatives.num_in_batch, base.batch.positives - 1),
    )
  try:
    return settings.from_flat(
      settings.flatten(
        dataclasses.replace(
          base, phase=phase, model=model, negatives=negatives, init_from=''
        )
      )
    )
  except ValueError as error:
    raise errors.UserError(
      f'the settings for phase {phase}: {error}; pass --config, or '
      '--model-config, with other values'
    ) from error


def check_folder(source: Path, target: Path) -> None:
  """Raises UserError unless a weight file can become the folder `target`."""
  if reading.has_name(target):
    raise errors.UserError(
      f'{source} becomes a folder, but {target} is the name of a weight '
      'file; pass another name'
    )
  _check_new(target)


def _check_new(target: Path) -> None:
  """Raises UserError up front if the target exists or cannot be created."""
  if target.exists() and not (target.is_dir() and not any(target.iterdir())):
    raise errors.UserError(
      f'{target} already exists; remove it, or pass another path'
    )
  if not target.is_dir():
    files.check_target(target)


def export(
  target: Path,
  params: dict,
  config: settings.Settings,
  source: Path,
  fresh: Sequence[str] = (),
) -> None:
  """Writes a checkpoint at update 0, whole or not at all.

  Args:
    target: the checkpoint's folder.
    params: parameters on the host.
    config: its settings, with the phase that it counts as.
    source: what it was converted from.
    fresh: parts of the network that it lacks; see `checkpoints.FRESH`.
  """
  about = {
    'phase': config.phase,
    'update': 0,
    'settings': settings.flatten(config),
    'versions': folder.versions(),
    'converted_from': source.name,
  }
  if fresh:
    about[checkpoints.FRESH] = list(fresh)
  # Complete before it appears under its name.
  with (
    progress.waiting(f'writing {target}'),
    files.whole_folder(target) as place,
  ):
    checkpoints.export(place, params, about)
