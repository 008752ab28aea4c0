"""Language models that judge sentences, without their pictures."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import safetensors

from tagsdc_jax import errors
from tagsdc_jax.data import dataset, trigrams
from tagsdc_jax.runtime import progress

_BATCH = 16


class Judge(Protocol):
  """A language model."""

  def losses(self, captions: Sequence[dataset.Caption]) -> Iterator[np.ndarray]:
    """Yields the negative log-probability of each word of each caption."""


class Trigrams:
  """A trigram model of training captions."""

  def __init__(self, train: dataset.RetrievalDataset) -> None:
    self._model = trigrams.Model(
      [caption.token_ids for caption in train.captions], train.vocabulary
    )

  def losses(self, captions: Sequence[dataset.Caption]) -> Iterator[np.ndarray]:
    """See `Judge`; the end of a caption counts as a word."""
    for caption in captions:
      yield -self._model.log_probs(caption.token_ids[None])[0]


class Causal:
  """A causal language model of torch `transformers`."""

  def __init__(self, folder: str) -> None:
    """Opens a model.

    Args:
      folder: as `save_pretrained` writes it, model and tokenizer; only
        safetensors are read.
    Raises:
      UserError: if it is not such a folder, or a package is missing.
    """
    try:
      import torch
      import transformers
    except ImportError as error:
      raise errors.UserError(
        f'--judge needs torch and transformers, but {error.name} is missing: '
        'pip install "tagsdc_jax[torch]"'
      ) from error
    self._torch = torch
    try:
      self._tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, local_files_only=True
      )
      self._model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
      ).eval()
    except (
      OSError,
      ValueError,
      KeyError,
      ImportError,
      RuntimeError,
      safetensors.SafetensorError,
    ) as error:
      raise errors.UserError(
        f'{folder} must be the folder of a causal language model with its '
        f'tokenizer, in safetensors, got: {str(error).splitlines()[0]}'
      ) from error
    if self._tokenizer.pad_token is None:
      self._tokenizer.pad_token = self._tokenizer.eos_token

  def losses(self, captions: Sequence[dataset.Caption]) -> Iterator[np.ndarray]:
    """See `Judge`; without the first token, before which nothing stands."""
    torch = self._torch
    with progress.progress_bar(
      len(captions), 'judging sentences', 'sentences'
    ) as bar:
      for start in range(0, len(captions), _BATCH):
        texts = [one.text for one in captions[start : start + _BATCH]]
        inputs = self._tokenizer(
          texts, return_tensors='pt', padding=True, padding_side='right'
        )
        ids, mask = inputs['input_ids'], inputs['attention_mask']
        with torch.no_grad():
          logits = self._model(input_ids=ids, attention_mask=mask).logits
        losses = torch.nn.functional.cross_entropy(
          logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction='none'
        )
        for row, length in zip(losses, mask.sum(1), strict=True):
          yield row[: int(length) - 1].numpy()
        bar.update(len(texts))


def about(folder: str) -> str:
  """Returns what a judge is, for readers and for names of files.

  Raises:
    UserError: if the folder has no settings of a model.
  """
  if not folder:
    return 'a trigram model of the training captions'
  try:
    config = json.loads((Path(folder) / 'config.json').read_text('utf-8'))
    return f'{Path(folder).name} ({config["model_type"]})'
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise errors.UserError(
      f'--judge {folder} must be the folder of a causal language model, as '
      'save_pretrained of transformers writes it, but it has no config.json '
      'with a model_type'
    ) from error
