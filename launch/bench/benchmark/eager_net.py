"""The same network in plain eager PyTorch, with our parameters.

It runs like the release: every batch is padded to its longest row, all layers
process all tokens, attention consists of matrix products and a softmax, and
GELU of elementary operations. PyTorch's GELU, one pass over memory instead of
five, is available for comparison.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tagsdc_jax import settings

_EPSILON = 1e-12


def to_torch(params: Any, device: torch.device, dtype: torch.dtype) -> Any:
  """Returns the nested parameters as leaf tensors with requires_grad."""
  if isinstance(params, dict):
    return {k: to_torch(v, device, dtype) for k, v in params.items()}
  return torch.tensor(
    np.asarray(params), device=device, dtype=dtype
  ).requires_grad_()


def leaves(params: Any) -> list[torch.Tensor]:
  """Returns all tensors."""
  if isinstance(params, dict):
    return [x for v in params.values() for x in leaves(v)]
  return [params]


def dense(params: Any, x: torch.Tensor) -> torch.Tensor:
  """Returns a linear layer's output; our kernels are [in, out]."""
  return F.linear(x, params['kernel'].T, params['bias'])


def norm(params: Any, x: torch.Tensor) -> torch.Tensor:
  """Returns LayerNorm's output."""
  return F.layer_norm(
    x, x.shape[-1:], params['scale'], params['bias'], _EPSILON
  )


def gelu(x: torch.Tensor) -> torch.Tensor:
  """Returns the exact GELU in five operations, as the release writes it."""
  return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Net:
  """Attributes:
  params: nested tensors.
  training: whether dropout is on.
  """

  def __init__(
    self, params: Any, config: settings.Model, fused_gelu: bool
  ) -> None:
    self.params, self.config, self.training = params, config, False
    self._gelu = F.gelu if fused_gelu else gelu

  def _drop(self, x: torch.Tensor) -> torch.Tensor:
    return F.dropout(x, self.config.dropout_rate, self.training)

  def embed_text(self, token_ids: torch.Tensor) -> torch.Tensor:
    """Returns [N, L, D]."""
    p = self.params['text_embeddings']
    x = F.embedding(token_ids, p['word']['embedding'])
    x = (
      x
      + p['position']['embedding'][: token_ids.shape[1]]
      + p['token_type']['embedding'][0]
    )
    return self._drop(norm(p['norm'], x))

  def embed_image(
    self, features: torch.Tensor, boxes: torch.Tensor
  ) -> torch.Tensor:
    """Returns [N, R, D]."""
    p = self.params['image_embeddings']
    kind = self.params['text_embeddings']['token_type']['embedding'][1]
    x = (
      norm(p['feature_norm'], dense(p['feature_projection'], features))
      + norm(p['box_norm'], dense(p['box_projection'], boxes))
      + kind
    )
    return self._drop(norm(p['norm'], x))

  def encode(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns [N, T, D] of padded rows, real tokens first.

    Args:
      rows: token_ids [N, L], features [N, R, F], boxes [N, R, 7], gather
        [N, T] into text then regions, mask [N, T], 1 where real.
    """
    x = torch.cat(
      [
        self.embed_text(rows['token_ids']),
        self.embed_image(rows['features'], rows['boxes']),
      ],
      1,
    )
    index = rows['gather'][..., None].expand(-1, -1, x.shape[-1])
    x = torch.gather(x, 1, index)
    bias = ((1.0 - rows['mask']) * -10000.0)[:, None, None].to(x.dtype)
    encoder = self.params['encoder']
    for i in range(self.config.num_layers - 1):
      x = self._layer(_slice(encoder['layers'], i), x, bias)
    return self._layer(encoder['last_layer'], x, bias)

  def _layer(self, p: Any, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    heads = self.config.num_heads

    def split(name: str) -> torch.Tensor:
      y = dense(p['attention'][name], x)
      return y.view(*y.shape[:2], heads, -1).permute(0, 2, 1, 3)

    query, key, value = split('query'), split('key'), split('value')
    scores = torch.matmul(query, key.transpose(-1, -2))
    probs = torch.softmax(scores / math.sqrt(query.shape[-1]) + bias, -1)
    mixed = torch.matmul(self._drop(probs), value).permute(0, 2, 1, 3)
    mixed = dense(p['attention']['output'], mixed.reshape(x.shape))
    x = norm(p['attention_norm'], x + self._drop(mixed))
    hidden = self._gelu(dense(p['intermediate'], x))
    return norm(p['output_norm'], x + self._drop(dense(p['output'], hidden)))

  def match_logits(self, states: torch.Tensor) -> torch.Tensor:
    """Returns [N]."""
    pooled = torch.tanh(dense(self.params['pooler']['dense'], states[:, 0]))
    return dense(self.params['rank_output'], pooled)[:, 0]

  def word_logits(self, head: str, states: torch.Tensor) -> torch.Tensor:
    """Returns [..., V]; head is mlm_output or correction_output."""
    p = self.params[head]
    x = norm(p['norm'], self._gelu(dense(p['dense'], states)))
    words = self.params['text_embeddings']['word']['embedding']
    return F.linear(x, words, p['bias'])

  def disc_logits(self, states: torch.Tensor) -> torch.Tensor:
    """Returns [..., 2]."""
    return dense(self.params['disc_output'], states)


def _slice(params: Any, i: int) -> Any:
  return {
    k: _slice(v, i) if isinstance(v, dict) else v[i] for k, v in params.items()
  }
