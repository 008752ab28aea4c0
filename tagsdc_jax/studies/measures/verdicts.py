"""Faithfulness on the world: the oracle judges what a network writes."""

import typing

import numpy as np

from tagsdc_jax.data import opening
from tagsdc_jax.data.world import oracle
from tagsdc_jax.studies.measures import items, networks

VERDICTS: tuple[str, ...] = typing.get_args(oracle.Verdict)
HARDEST = 'the ten hardest'
_HARDEST = 10


def verdicts(subject: networks.Subject) -> items.Items:
  """Returns what the oracle says of all refills, and of the hardest.

  On data without an oracle, nothing.
  """
  config = subject.opened.network.settings.data
  if config.source != 'world':
    return {}
  scenes = opening.load_scenes(config, networks.SPLIT)
  found = []
  for one in subject.written:
    judged = [
      oracle.judge_ids(tokens, scenes[one.image]) for tokens in one.sentences
    ]
    hardest = np.argsort(-one.scores, kind='stable')[:_HARDEST]
    for name, rows in (('all refills', range(len(judged))), (HARDEST, hardest)):
      found += [
        (f'{verdict}, {name}', judged[row] == verdict, one.image)
        for row in rows
        for verdict in VERDICTS
      ]
  return items.join(found)
