"""Reads checkpoints, loads them into the release's networks, and saves them."""

import argparse
import inspect
import json
import os
import shutil
from typing import Any, Dict, List

import torch

from recorder import safetensors_file
from recorder.problems import Problem
from recorder.release import Release

_FEATURES = 'uniter.img_embeddings.img_linear.weight'
_ENDINGS = ('.pt', '.safetensors')
_STAGE_HEADS = {
  1: ('rank_output.',),
  2: ('rank_output.', 'disc_output.', 'correction_output.'),
}


def read(path: str) -> Dict[str, torch.Tensor]:
  """Returns a state dict, name -> tensor on the CPU.

  Raises:
    Problem: if the file is not a state dict of UNITER.
  """
  # weights_only rejects code; older versions of torch lack it.
  settings: Dict[str, Any] = {'map_location': 'cpu'}
  if 'weights_only' in inspect.signature(torch.load).parameters:
    settings['weights_only'] = True
  try:
    state = torch.load(path, **settings)
  except Exception as error:
    # torch's message advises running whatever code is in the file.
    reason = (
      'it is not such a file, or contains more than tensors'
      if 'weights_only' in str(error)
      else _line(error)
    )
    raise Problem(
      '--checkpoint {}: torch {} cannot read it as weights: {}'.format(
        path, torch.__version__, reason
      )
    ) from error
  if not isinstance(state, dict) or not all(
    torch.is_tensor(value) for value in state.values()
  ):
    raise Problem(
      '--checkpoint {}: expected a state dict, name -> tensor, as '
      'the release saves it'.format(path)
    )
  if _FEATURES not in state:
    raise Problem(
      '--checkpoint {}: it contains no {}; pass UNITER weights'.format(
        path, _FEATURES
      )
    )
  return state


def stage_of(state: Dict[str, torch.Tensor]) -> int:
  """Returns 0 for pretrained weights, else the stage that trained them."""
  if 'disc_output.weight' in state:
    return 2
  return 1 if 'rank_output.weight' in state else 0


def build(
  release: Release, state: Dict[str, torch.Tensor], options: argparse.Namespace
) -> torch.nn.Module:
  """Returns the network of --stage with the weights, dropout 0.

  Heads that the checkpoint has not been trained for are initialized as the
  release does at the start of their stage (which resets stage 1's matching head
  at the start of stage 2).

  Raises:
    Problem: if the weights do not match the stage or the sizes.
  """
  trained = stage_of(state)
  if trained > options.stage:
    raise Problem(
      '--checkpoint {} is from stage 2; pass --stage 2'.format(
        options.checkpoint
      )
    )
  network = release.stage1 if options.stage == 1 else release.stage2
  model = from_state(network, state, options)
  _check_names(model, state, options, trained)
  if trained < options.stage:
    model.init_output()
  release.misc.set_dropout(model, 0.0)
  return model


def from_state(
  network: type, state: Dict[str, torch.Tensor], options: argparse.Namespace
) -> torch.nn.Module:
  """Returns a network with a checkpoint's weights, using `from_pretrained`.

  Raises:
    Problem: if sizes do not match.
  """
  try:
    # It renames old names in the dictionary that it is given.
    return network.from_pretrained(
      options.model_config,
      dict(state),
      img_dim=feature_size(state),
      margin=options.margin,
      hard_size=options.hard_size,
      nsgd_sample_size=options.nsgd_samples,
      nsgd_sample_temperature=options.temperature,
    )
  except RuntimeError as error:
    wrong = [
      line.strip()
      for line in str(error).splitlines()
      if 'size mismatch' in line
    ]
    raise Problem(
      '--model-config {} has other sizes than the weights in {}: {}'.format(
        options.model_config,
        options.checkpoint,
        '{} tensors differ, the first: {}'.format(len(wrong), wrong[0])
        if wrong
        else _line(error),
      )
    ) from error
  except (AttributeError, ValueError) as error:
    raise Problem(
      '--model-config {}: {}'.format(options.model_config, _line(error))
    ) from error


def feature_size(state: Dict[str, torch.Tensor]) -> int:
  """Returns the feature size of regions that the weights expect."""
  return state[_FEATURES].shape[1]


def _check_names(
  model: torch.nn.Module,
  state: Dict[str, torch.Tensor],
  options: argparse.Namespace,
  trained: int,
) -> None:
  """Raises Problem for names that the release would silently ignore."""
  given = {
    name.replace('gamma', 'weight').replace('beta', 'bias') for name in state
  }
  expected = set(model.state_dict())
  made = _STAGE_HEADS[options.stage] if trained < options.stage else ()
  missing = sorted(
    name for name in expected - given if not name.startswith(made)
  )
  # Pretraining heads that the release does not use are allowed.
  unknown = sorted(
    name for name in given - expected if name.startswith('uniter.')
  )
  for names, what in ((missing, 'lacks'), (unknown, 'has more than')):
    if names:
      raise Problem(
        '--checkpoint {} {} what --model-config {} says, {} '
        'tensors, the first: {}'.format(
          options.checkpoint, what, options.model_config, len(names), names[0]
        )
      )


def save(model: torch.nn.Module, folder: str, name: str) -> List[str]:
  """Writes folder/name.pt and .safetensors; returns both file names."""
  files = [name + ending for ending in _ENDINGS]
  state = {key: value.detach() for key, value in model.state_dict().items()}
  torch.save(state, os.path.join(folder, files[0]))
  safetensors_file.write(
    os.path.join(folder, files[1]),
    {key: value.numpy() for key, value in state.items()},
  )
  return files


def share(source: str, folder: str, name: str) -> List[str]:
  """Adds files written by `save` to another folder, as links if possible."""
  files = [name + ending for ending in _ENDINGS]
  for file in files:
    paths = os.path.join(source, file), os.path.join(folder, file)
    try:
      os.link(*paths)
    except OSError:
      # Not all file systems support links.
      shutil.copy(*paths)
  return files


def read_config(path: str) -> Dict[str, Any]:
  """Returns the sizes of the network.

  Raises:
    Problem: if the file is not valid JSON with these sizes.
  """
  try:
    with open(path, encoding='utf-8') as file:
      config = json.load(file)
    if not isinstance(config['vocab_size'], int):
      raise ValueError('vocab_size is not a number')
  except (ValueError, KeyError, TypeError) as error:
    raise Problem(
      '--model-config {}: expected JSON with vocab_size, '
      'hidden_size and so on ({})'.format(path, _line(error))
    ) from error
  return config


def _line(error: BaseException) -> str:
  """Returns the first line of an error's text."""
  return (str(error).strip() or type(error).__name__).splitlines()[0]
