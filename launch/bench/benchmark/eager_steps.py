"""Training and evaluation like the release's, in eager PyTorch.

One positive at a time; every candidate is scored, including duplicates; words
are predicted at every position of a sentence; each loss has separate passes.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as F

from benchmark import eager_net
from benchmark.problem import Problem
from tagsdc_jax import arrays
from tagsdc_jax.negatives import masking
from tagsdc_jax.training import head_init

_IMAGES_AT_ONCE = 400


class Eager:
  """The network on the best available device, in the benchmark's precision."""

  def __init__(
    self, problem: Problem, params: Any, fused_gelu: bool = False
  ) -> None:
    self.config = problem.config
    self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    self.dtype = getattr(torch, problem.config.compute.dtype)
    self.net = eager_net.Net(
      eager_net.to_torch(params, self.device, self.dtype),
      problem.config.model,
      fused_gelu,
    )
    self._parameters = eager_net.leaves(self.net.params)

  def put(self, tree: Any) -> Any:
    """Returns arrays as tensors on the device."""
    return jax.tree.map(
      lambda x: torch.as_tensor(np.array(x), device=self.device), tree
    )

  def rows(
    self,
    token_ids: torch.Tensor,
    num_tokens: torch.Tensor,
    features: torch.Tensor,
    boxes: torch.Tensor,
    num_regions: torch.Tensor,
  ) -> dict[str, torch.Tensor]:
    """Returns rows padded to the longest, of arguments [N, ...] or [1, ...]."""
    count = max(len(num_tokens), len(num_regions))
    tokens, regions = (
      x.long().expand(count)[:, None] for x in (num_tokens, num_regions)
    )
    length, most = int(tokens.max()), int(regions.max())
    place = torch.arange(int((tokens + regions).max()), device=self.device)[
      None
    ]
    gather = torch.where(place < tokens, place, length + place - tokens)

    def pad(x: torch.Tensor, size: int, dtype: torch.dtype) -> torch.Tensor:
      return x[:, :size].expand(count, *[-1] * (x.ndim - 1)).to(dtype)

    return {
      'token_ids': pad(token_ids, length, torch.long),
      'features': pad(features, most, self.dtype),
      'boxes': pad(boxes, most, self.dtype),
      'gather': gather.clamp(max=length + most - 1),
      'mask': (place < tokens + regions).float(),
    }

  def wait(self) -> None:
    """Waits until the device is done."""
    if self.device.type == 'cuda':
      torch.cuda.synchronize()

  def score(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns matching scores without gradient and dropout, [N]."""
    with torch.no_grad():
      self.net.training = False
      scores = self.net.match_logits(self.net.encode(rows))
      self.net.training = True
    return scores

  def train_positive(
    self,
    batch: arrays.MicroBatch,
    masked: torch.Tensor,
    is_target: torch.Tensor,
  ) -> float:
    """Returns the loss of a positive after its backward pass.

    Args:
      batch: one micro-batch with B = 1, tensors.
      masked: int [K, L], masked copies.
      is_target: bool [K, L].
    """
    config = self.config.negatives
    own_text = (batch.texts.token_ids, batch.texts.num_tokens)
    own_image = (
      batch.images.features,
      batch.images.boxes,
      batch.images.num_regions,
    )
    length = int(batch.texts.num_tokens[0])
    self.net.training = True

    copies = self.rows(masked, own_text[1].expand(len(masked)), *own_image)
    target = is_target[:, :length]
    own = self.rows(*own_text, *own_image)
    caption = own['token_ids'][0]
    states = self.net.encode(copies)[:, :length]
    labels = caption.expand(len(masked), -1)[target]
    mlm = F.cross_entropy(
      self.net.word_logits('mlm_output', states[target]).float(), labels
    )
    with torch.no_grad():
      logits = self.net.word_logits('mlm_output', states).float()
      sampled = torch.multinomial(
        (logits / config.temperature).softmax(-1).flatten(0, 1),
        config.num_samples,
        replacement=True,
      )
      sampled = sampled.view(*target.shape, -1).permute(0, 2, 1)
      sentences = torch.where(target[:, None], sampled, caption).flatten(0, 1)
      is_target_of = target.repeat_interleave(config.num_samples, 0)

    loss = self.config.losses.mlm * mlm
    every = {
      k: torch.cat([v, v.expand(len(sentences), *v.shape[1:])])
      for k, v in own.items()
    }
    every['token_ids'] = torch.cat([own['token_ids'], sentences])
    chosen = self._hardest(every, self._penalties(sentences, caption))
    states = self.net.encode(_take(every, chosen))
    loss = loss + self.config.losses.synthetic * self._triplet(states)
    if self.config.phase == 'dc':
      kept = chosen[1:]
      loss = loss + self._word_losses(
        _take(every, kept), caption, is_target_of[kept - 1]
      )
    loss.backward()

    for text, image in (
      (own_text, _with_pool(own_image, batch.pool_images)),
      (_with_pool(own_text, batch.pool_texts), own_image),
    ):
      rows = self.rows(*text, *image)
      states = self.net.encode(_take(rows, self._hardest(rows)))
      pair_loss = self._triplet(states)
      pair_loss.backward()
      loss = loss + pair_loss.detach()
    return float(loss.detach())

  def _penalties(
    self, sentences: torch.Tensor, caption: torch.Tensor
  ) -> torch.Tensor:
    """Returns the penalties of duplicates and the caption, [G]; quadratic."""
    same = (sentences[:, None] != sentences[None]).float().sum(-1) == 0
    repeated = same.float().triu(1).sum(-1) > 0
    return 3.0 * (sentences == caption).all(-1).float() + 2.0 * repeated.float()

  def _hardest(
    self, rows: dict[str, torch.Tensor], penalties: torch.Tensor | float = 0.0
  ) -> torch.Tensor:
    """Returns row 0, the positive, and the h rows with the highest scores."""
    scores = self.score(rows)[1:].float() - penalties
    best = scores.topk(self.config.negatives.num_hard)[1] + 1
    return torch.cat([best.new_zeros(1), best])

  def _triplet(self, states: torch.Tensor) -> torch.Tensor:
    probs = torch.sigmoid(self.net.match_logits(states))
    return F.relu(self.config.losses.margin + probs[1:] - probs[:1]).mean()

  def _word_losses(
    self,
    rows: dict[str, torch.Tensor],
    caption: torch.Tensor,
    is_target: torch.Tensor,
  ) -> torch.Tensor:
    losses = self.config.losses
    states = self.net.encode(rows)[:, : len(caption)]
    same = (rows['token_ids'] == caption).long()
    weights = torch.where(same == 1, losses.kept_weight, losses.replaced_weight)
    disc = F.cross_entropy(
      self.net.disc_logits(states).flatten(0, 1).float(),
      same.flatten(),
      reduction='none',
    )
    logits = self.net.word_logits('correction_output', states[is_target])
    correction = F.cross_entropy(
      logits.float(), caption.expand(len(states), -1)[is_target]
    )
    return (
      losses.discrimination * (disc * weights.flatten()).mean()
      + losses.correction * correction
    )

  def forget_gradients(self) -> None:
    """Drops the gradients, as zero_grad would after an optimizer step."""
    for x in self._parameters:
      x.grad = None


def _take(
  rows: dict[str, torch.Tensor], index: torch.Tensor
) -> dict[str, torch.Tensor]:
  return {k: v[index] for k, v in rows.items()}


def _with_pool(own: tuple, pool: Any) -> tuple:
  fields = (
    (pool.token_ids, pool.num_tokens)
    if len(own) == 2
    else (pool.features, pool.boxes, pool.num_regions)
  )
  return tuple(torch.cat(x) for x in zip(own, fields, strict=True))


def training(
  problem: Problem, phase: str, fused_gelu: bool
) -> Callable[[int], None]:
  """Returns a function that trains on one positive per round, drawn like ours.

  It uses our masks, so that both have the same targets.
  """
  micro_batches = problem.config.batch.micro_batches
  config = dataclasses.replace(
    problem.config,
    phase=phase,
    batch=dataclasses.replace(problem.config.batch, positives=1),
  )
  problem = dataclasses.replace(problem, config=config)
  eager = Eager(
    problem,
    head_init.start_heads(problem.params, 'pretrain', phase),
    fused_gelu,
  )
  mask = jax.jit(
    functools.partial(
      masking.mask_tokens,
      num_copies=config.negatives.num_copies,
      mask_rate=config.negatives.mask_rate,
      mask_id=problem.train.vocabulary.mask,
      random_range=problem.train.vocabulary.random_range,
    )
  )
  inputs = []
  for number in range(1 + problem.size.rounds):
    batch = problem.micro_batch(number * micro_batches)
    masked = mask(
      jax.random.key(number), batch.texts.token_ids, batch.phrase_counts
    )
    inputs.append(eager.put((batch, masked.token_ids[0], masked.is_target[0])))

  def run(number: int) -> None:
    eager.train_positive(*inputs[number])
    eager.forget_gradients()
    eager.wait()

  return run


def time_evaluation(
  eager: Eager, captions: np.ndarray, texts: arrays.Texts, images: arrays.Images
) -> tuple[float, np.ndarray]:
  """Returns pairs per second and scores [len(captions), images].

  Each caption is scored against all images at once, as in the release.
  """
  num_images = len(images.num_regions)
  texts, images = eager.put((texts, images))

  def score(number: int) -> np.ndarray:
    parts = []
    for start in range(0, num_images, _IMAGES_AT_ONCE):
      part = slice(start, start + _IMAGES_AT_ONCE)
      parts.append(
        eager.score(
          eager.rows(
            texts.token_ids[[number]],
            texts.num_tokens[[number]],
            images.features[part],
            images.boxes[part],
            images.num_regions[part],
          )
        )
        .float()
        .cpu()
        .numpy()
      )
    return np.concatenate(parts)

  score(captions[0])
  start = time.perf_counter()
  scores = np.stack([score(number) for number in captions])
  return scores.size / (time.perf_counter() - start), scores
