"""evaluation.npz: scores and recalls of some captions and images.

The release's functions score and rank; only their data set is reduced.
"""

import argparse
import itertools
from typing import Any, Dict, List, Tuple

import numpy as np
import torch

from recorder import standins, weights
from recorder.arrays import array
from recorder.databases import Databases
from recorder.problems import Problem
from recorder.progress import Progress, counting
from recorder.release import Release
from recorder.watching import replaced

RECALLS = (
  'txt_r1',
  'txt_r5',
  'txt_r10',
  'txt_r_mean',
  'img_r1',
  'img_r5',
  'img_r10',
  'img_r_mean',
  'r_mean',
)


class _CpuTorch:
  """Stands in for torch in the release's inference, with the CPU as its GPU."""

  def __getattr__(self, name: str) -> Any:
    return getattr(torch, name)

  def device(self, *unused: Any) -> torch.device:
    """Returns the CPU, whatever the arguments."""
    del unused
    return torch.device('cpu')


class _Loader:
  """Yields a data set's items one by one, like the release's loaders."""

  def __init__(self, dataset: Any) -> None:
    self.dataset = dataset

  def __len__(self) -> int:
    return len(self.dataset)

  def __iter__(self) -> Any:
    return (self.dataset[i] for i in range(len(self.dataset)))


def make_dataset(
  release: Release, databases: Databases, options: argparse.Namespace
) -> Any:
  """Returns the release's evaluation data set, limited to the first images.

  Raises:
    Problem: if there are too few for the release to rank.
  """
  text = databases.text
  of_image, lengths = text.img2txts, text.id2len
  # One caption of each image, then another of each, so that each has some.
  images = list(of_image)[: options.eval_images]
  rounds = itertools.zip_longest(*(of_image[name] for name in images))
  kept = set(
    [key for keys in rounds for key in keys if key in lengths][
      : options.eval_captions
    ]
  )
  captions = [key for key in lengths if key in kept]
  images = [name for name in images if kept & set(of_image[name])]
  for name, found in (('eval-images', images), ('eval-captions', captions)):
    if len(found) < 10:
      raise Problem(
        '--{}: the release ranks ten, but {} has only {}; pass '
        '--eval-images 0 for no evaluation'.format(
          name, options.txt_db, len(found)
        )
      )
  data = release.itm.ItmEvalDataset(
    text, databases.images, min(options.eval_minibatch, len(images))
  )
  image_of, wanted = text.txt2img, set(images)
  data.ids = captions
  data.all_img_ids = [name for name in data.all_img_ids if name in wanted]
  data.txt2img = {key: image_of[key] for key in captions}
  data.img2txts = {
    name: [key for key in of_image[name] if key in kept] for name in images
  }
  return data


def record(
  release: Release,
  model: torch.nn.Module,
  data: Any,
  options: argparse.Namespace,
) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
  """Returns the arrays of evaluation.npz, and its results for the manifest.

  Args:
    release: its modules.
    model: network of --stage, dropout 0.
    data: from `make_dataset`.
    options: the command line.
  """
  stage = 'stage{}'.format(options.stage)
  # The release's inference script uses stage 1's network for any checkpoint,
  # and resets the matching head.
  inference = weights.from_state(release.stage1, model.state_dict(), options)
  inference.init_output()
  release.misc.set_dropout(inference, 0.0)
  exact, half, recalls = _scores(release, model, data, 'evaluation')
  _, reset, reset_recalls = _scores(
    release, inference, data, 'evaluation as by inf_nsgd.py'
  )
  gap = np.abs(half.astype(np.float32) - reset.astype(np.float32)).max()
  arrays = {
    'scores_f32': exact,
    'scores_f16': half,
    'evaluate': _vector(recalls),
    'inf_nsgd/scores_f16': reset,
    'inf_nsgd/result': _vector(reset_recalls),
  }
  results = {
    stage: {
      'max_abs_difference_between_the_two_score_matrices': float(gap),
      'evaluate': recalls,
      'inf_nsgd': reset_recalls,
    }
  }
  return (
    {'{}/{}'.format(stage, name): value for name, value in arrays.items()},
    {
      'txt_ids': data.ids,
      'img_ids': data.all_img_ids,
      'txt2img': data.txt2img,
      'img2txts': data.img2txts,
      'results': results,
      'minibatch': data.bs,
    },
  )


def _scores(
  release: Release, model: torch.nn.Module, data: Any, name: str
) -> Tuple[np.ndarray, np.ndarray, Dict[str, float]]:
  """Returns (float32 scores, float16 scores, recalls), captions x images."""
  module = release.itm_eval
  progress = Progress(name, len(data) * len(data.all_img_ids))
  with replaced(module, 'torch', lambda original: _CpuTorch()):
    with replaced(module, 'tqdm', lambda original: standins.SilentBar):
      with counting(progress, model.uniter.encoder.layer):
        exact: List[torch.Tensor] = []
        hook = model.register_forward_hook(
          lambda module, inputs, output: exact.append(output['rank_scores'])
        )
        half = module.inference(model, _Loader(data))
        hook.remove()
  maps = (data.ids, data.all_img_ids, data.txt2img, data.img2txts)
  try:
    recalls = module.itm_eval(half, *maps)
  except RuntimeError:
    # Old versions of torch cannot rank float16 on a CPU.
    recalls = module.itm_eval(half.float(), *maps)
  return array(torch.cat(exact).reshape(half.shape)), array(half), recalls


def _vector(recalls: Dict[str, float]) -> np.ndarray:
  return np.array([recalls[name] for name in RECALLS])
