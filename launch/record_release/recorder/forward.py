"""forward.npz: every layer and head of a plain forward pass."""

import copy
from typing import Any, Dict

import numpy as np
import torch

from recorder.arrays import array
from recorder.batches import Batch
from recorder.progress import Progress, counting
from recorder.release import Release

_INPUTS = (
  'input_ids',
  'position_ids',
  'img_feat',
  'img_pos_feat',
  'attn_masks',
  'gather_index',
)


def record(
  release: Release, model: torch.nn.Module, batch: Batch
) -> Dict[str, np.ndarray]:
  """Returns the arrays of forward.npz.

  Args:
    release: its modules.
    model: network of either stage, dropout 0.
    batch: from `batches.for_forward`.
  """
  model.eval()
  out = {name: array(batch[name]) for name in _INPUTS + ('txt_lens', 'num_bbs')}
  # Also text alone and image alone, and everything again in float64.
  progress = Progress('forward', 5 * len(batch['input_ids']))
  with torch.no_grad(), counting(progress, model.uniter.encoder.layer):
    out.update(_layers_and_heads(model, batch))
    out.update(_parts(model, batch))
    out.update(_probes(release, model))
  double = copy.deepcopy(model).double()
  wide = dict(
    batch,
    img_feat=batch['img_feat'].double(),
    img_pos_feat=batch['img_pos_feat'].double(),
  )
  with torch.no_grad():
    exact = _layers_and_heads(double, wide)
  out.update({'f64/' + name: value for name, value in exact.items()})
  return out


def rounding(recorded: Dict[str, np.ndarray]) -> Dict[str, float]:
  """Returns the largest |float32 - float64| of each array that has both."""
  return {
    name: float(
      np.abs(recorded[name].astype(np.float64) - recorded['f64/' + name]).max()
    )
    for name in recorded
    if 'f64/' + name in recorded
  }


def _layers_and_heads(
  model: torch.nn.Module, batch: Batch
) -> Dict[str, np.ndarray]:
  """Returns the outputs of all layers and heads, in the model's precision."""
  seen: Dict[str, torch.Tensor] = {}
  uniter = model.uniter
  watched = {
    'text_embedding': uniter.embeddings,
    'image_embedding': uniter.img_embeddings,
    'pooled': uniter.pooler,
  }
  watched.update(
    ('hidden_{}'.format(k), layer)
    for k, layer in enumerate(uniter.encoder.layer)
  )
  hooks = [
    module.register_forward_hook(_keep(seen, name))
    for name, module in watched.items()
  ]
  hooks.append(
    uniter.encoder.layer[0].register_forward_hook(
      lambda module, inputs, output: seen.update(joint_embedding=inputs[0])
    )
  )
  try:
    scores = model.forward_uniter(
      compute_loss=False,
      sigmoid_norm=True,
      **{name: batch[name] for name in _INPUTS},
    )
  finally:
    for hook in hooks:
      hook.remove()
  seen['rank_scores'] = scores['rank_scores']
  seen['rank_scores_sigmoid'] = scores['rank_scores_sigmoid']
  seen['itm_logits'] = model.itm_output(seen['pooled'])
  last = seen['hidden_{}'.format(len(uniter.encoder.layer) - 1)]
  text = last[:, : batch['input_ids'].size(1)]
  seen['mlm_logits'] = model.cls(text)
  if hasattr(model, 'disc_output'):
    seen['disc_probs'] = model.disc_output(text).softmax(-1)
    seen['correction_logits'] = model.correction_output(text)
  return {name: array(value) for name, value in seen.items()}


def _keep(seen: Dict[str, torch.Tensor], name: str) -> Any:
  """Returns a hook that stores a module's output under a name."""
  return lambda module, inputs, output: seen.update({name: output})


def _parts(model: torch.nn.Module, batch: Batch) -> Dict[str, np.ndarray]:
  """Returns the outputs for text alone, image alone, and masked regions."""
  tokens, features = batch['input_ids'], batch['img_feat']
  text_mask = _up_to(batch['txt_lens'], tokens.size(1))
  image_mask = _up_to(batch['num_bbs'], features.size(1))
  text = model.uniter(
    tokens,
    batch['position_ids'],
    None,
    None,
    text_mask,
    output_all_encoded_layers=False,
  )
  image = model.uniter(
    None,
    None,
    features,
    batch['img_pos_feat'],
    image_mask,
    output_all_encoded_layers=False,
  )
  masked = torch.rand(features.shape[:2]) < 0.5
  # The release zeroes a row of this table on use.
  table = model.uniter.img_embeddings.mask_embedding.weight.data
  kept = table.clone()

  embedding = model.uniter._compute_img_embeddings(
    features, batch['img_pos_feat'], masked
  )
  table.copy_(kept)
  return {
    'img_masks': array(masked).astype(bool),
    'image_embedding_masked': array(embedding),
    'text_only_mask': array(text_mask),
    'image_only_mask': array(image_mask),
    'text_only_hidden': array(text),
    'image_only_hidden': array(image),
  }


def _up_to(lengths: torch.Tensor, width: int) -> torch.Tensor:
  """Returns int64 [B, width], 1 where a row is not padding."""
  return (torch.arange(width)[None] < lengths[:, None]).long()


def _probes(release: Release, model: torch.nn.Module) -> Dict[str, np.ndarray]:
  """Returns inputs that reveal LayerNorm's epsilon and the kind of GELU."""
  norm = model.uniter.embeddings.LayerNorm
  small = torch.randn(4, norm.weight.numel()) * 1e-4
  line = torch.linspace(-5.0, 5.0, steps=101)
  return {
    'probe/layernorm_in': array(small),
    'probe/layernorm_out': array(norm(small)),
    'probe/gelu_in': array(line),
    'probe/gelu_out': array(release.layer.gelu(line)),
  }
