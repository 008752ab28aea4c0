"""Faithfulness on any data: how a language model judges what is written."""

from collections.abc import Iterator

import numpy as np

from tagsdc_jax.data import captions as caption_text
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.runs import checking, reading
from tagsdc_jax.studies.measures import items, judges, networks

CAPTIONS, NEGATIVES, CORRECTED = 'captions', 'negatives', 'corrected'
KINDS = (CAPTIONS, NEGATIVES, CORRECTED)


def log_name(kind: str) -> str:
  """Returns the name of the number that has a kind's log-perplexities."""
  return f'mean log-perplexity of sentences, {kind}'


def perplexity(subject: networks.Subject) -> items.Items:
  """Returns perplexities of captions, hardest refills, and their corrections.

  Of the first caption of every picture. A correction has the words of the
  correction head in place of those that were replaced, as in the release's
  support/ppl_solver.py, and so do the three averages: of perplexities, and the
  logarithms of the other two, over sentences and over words.
  """
  opened = subject.opened
  config, data = opened.network.settings, opened.data
  judge = (
    judges.Causal(subject.judge)
    if subject.judge
    else judges.Trigrams(
      opening.open_split(config.data, 'train', config.extensions)
    )
  )
  first = {own[0] for own in data.captions_of_image if own}
  written = [
    one for one in subject.written if one.number in first and one.sentences
  ]
  hardest = [one.sentences[one.hardest] for one in written]
  kinds: dict[str, list[dataset.Caption]] = {
    CAPTIONS: [data.captions[one.number] for one in written],
    NEGATIVES: list(_as_captions(opened, written, hardest)),
  }
  if config.phase == 'dc' and config.losses.correction:
    kinds[CORRECTED] = list(
      _as_captions(opened, written, _corrected(opened, written, hardest))
    )
  found = []
  for kind, captions in kinds.items():
    for caption, losses in zip(captions, judge.losses(captions), strict=True):
      mean = float(np.mean(losses))
      found += [
        (f'mean perplexity, {kind}', np.exp(mean), caption.image),
        (log_name(kind), mean, caption.image),
        *(
          (f'mean log-perplexity of words, {kind}', loss, caption.image)
          for loss in losses
        ),
      ]
  return items.join(found)


def _corrected(
  opened: networks.Opened,
  written: list[networks.Captioned],
  hardest: list[np.ndarray],
) -> list[np.ndarray]:
  """Returns the hardest refills with replaced words corrected."""
  read = reading.Reader(
    opened.network.settings, opened.network.params, opened.data
  ).read(
    [
      (dataset.Caption('', 0, tokens, (), ''), one.image)
      for one, tokens in zip(written, hardest, strict=True)
    ],
    with_words=True,
  )
  corrections = np.asarray(read.corrections)
  return [
    np.where(
      tokens == opened.data.captions[one.number].token_ids,
      tokens,
      corrections[row, 1 : 1 + len(tokens)],
    )
    for row, (one, tokens) in enumerate(zip(written, hardest, strict=True))
  ]


def _as_captions(
  opened: networks.Opened,
  written: list[networks.Captioned],
  sentences: list[np.ndarray],
) -> Iterator[dataset.Caption]:
  """Yields sentences as they would be written."""
  vocabulary = opened.data.vocabulary
  writer = checking.open_writer(vocabulary)
  for one, tokens in zip(written, sentences, strict=True):
    caption = opened.data.captions[one.number]
    text = checking.edited(caption, tokens, vocabulary, writer)
    if text is None:  # Word pieces that are no words, as they are.
      text = caption_text.to_words(tokens, vocabulary, is_padded=False)
    yield dataset.Caption('', one.image, tokens, (), text)
