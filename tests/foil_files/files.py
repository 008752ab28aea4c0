"""Six items of every shape of foil file, with scores and what they make.

The scores stand in for a network's. Of each file the expectations are worked by
hand, beside the items.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.foil_files import measuring, records


@dataclasses.dataclass(frozen=True)
class Case:
  """A file and what comes out of it.

  Attributes:
    name: of the file.
    text: its content.
    family: that it is recognized as.
    scores: of each sentence; of quads by (sentence, picture).
    kinds: kind -> (items, accuracy in percent).
    left_out: counts by reason.
    more: dotted path in the row of all items -> number.
  """

  name: str
  text: str
  family: str
  scores: Mapping[Any, float]
  kinds: Mapping[str, tuple[int, float]]
  left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
  more: Mapping[str, float] = dataclasses.field(default_factory=dict)


def _lines(entries: list[Any]) -> str:
  return ''.join(json.dumps(entry) + '\n' for entry in entries)


_SUGAR = {
  str(key): {
    'filename': f'{key:012d}.jpg',
    'caption': f'a cat {key}',
    'negative_caption': f'a dog {key}',
  }
  # The fourth is missing, as one is in the published swap_obj.
  for key in (0, 1, 2, 4, 5, 6)
}

SUGAR_CREPE = Case(
  'swap_obj.json',
  json.dumps(_SUGAR),
  'SugarCrepe',
  # Right: 0, 1, 2 and 6. 4 is a tie, 5 the wrong way round.
  {f'a cat {key}': 1.0 for key in (0, 1, 2, 4, 5, 6)}
  | {f'a dog {key}': 0.5 for key in (0, 1, 2, 6)}
  | {'a dog 4': 1.0, 'a dog 5': 2.0},
  {'swap_obj': (6, 100 * 4 / 6)},
  # All captions are above a half, and no foil is below.
  more={'ties': 1, 'at_half.right': 0, 'captions_above': 100},
)

SUGAR_CREPE_PP = Case(
  'replace_att.json',
  json.dumps(
    [
      {
        'id': key,
        'filename': f'{key:012d}.jpg',
        'caption': f'one {key}',
        'caption2': f'two {key}',
        'negative_caption': f'foil {key}',
      }
      for key in range(5)
    ]
    # The foil is the second caption: it cannot be told from it.
    + [
      {
        'id': 5,
        'filename': '5.jpg',
        'caption': 'one 5',
        'caption2': 'two 5',
        'negative_caption': 'two  5 ',
      }
    ]
  ),
  'SugarCrepe++',
  # Both captions above: 0 and 1. One of them: 2. None: 3. A tie of one: 4.
  {f'one {key}': 2.0 for key in range(5)}
  | {'two 0': 3.0, 'two 1': 2.0, 'two 2': 0.0, 'two 3': 0.0, 'two 4': 1.0}
  | {'foil 0': 1.0, 'foil 1': 1.0, 'foil 2': 1.0, 'foil 3': 4.0, 'foil 4': 1.0},
  {'replace_att': (5, 40.0)},
  {'equal': 1},
  # Pairs: 2 + 2 + 1 + 0 + 1 of 10.
  more={
    'ties': 1,
    'pairs.accuracy': 60.0,
    'pairs.count': 10,
    'chance': 100 / 3,
  },
)

BIVLC = Case(
  'bivlc.csv',
  'filename,caption,negative_caption,type,subtype,index\n'
  + ''.join(
    f'{row:012d}.jpg,"a cat, {row}","a dog, {row}",{kind},{row}\n'
    for row, kind in enumerate(
      ['add,obj', 'add,obj', 'swap,att', 'swap,att', 'swap,att', 'add,att']
    )
  ),
  'BiVLC',
  {f'a cat, {row}': 1.0 for row in range(6)}
  | {f'a dog, {row}': 0.0 for row in (0, 2, 3)}
  | {f'a dog, {row}': 2.0 for row in (1, 4, 5)},
  {'add_obj': (2, 50.0), 'swap_att': (3, 100 * 2 / 3), 'add_att': (1, 0.0)},
  more={'accuracy': 50.0},
)

_VALSE = {
  f'plurals_{key}': {
    'dataset': 'coco2017',
    'image_file': f'{key:012d}.jpg',
    'caption': f'one cat {key}',
    'foil': f'many cats {key}',
    'linguistic_phenomena': 'plurals' if key < 3 else 'counting',
    'mturk': {'caption': votes, 'foil': 3 - votes, 'other': 0},
  }
  for key, votes in enumerate([3, 2, 3, 2, 3, 3])
} | {
  'plurals_6': {
    'image_file': '6.jpg',
    'caption': 'x',
    'foil': 'y',
    'linguistic_phenomena': 'plurals',
    'mturk': {'caption': 1, 'foil': 2, 'other': 0},
  }
}

VALSE = Case(
  'plurals.json',
  json.dumps(_VALSE),
  'VALSE',
  # (caption, foil): both at a half: 0 and 3. Above without: 1, 4. Wrong: 2, 5.
  {
    f'one cat {key}': score
    for key, score in enumerate([1, 2, -1, 0.5, -0.1, 0.0])
  }
  | {
    f'many cats {key}': score
    for key, score in enumerate([-1, 1, 1, -0.5, -0.2, 0.0])
  },
  {'plurals': (3, 100 * 2 / 3), 'counting': (3, 100 * 2 / 3)},
  {'invalid': 1},
  more={
    'ties': 1,
    'at_half.right': 2,
    'captions_above': 50.0,
    'foils_below': 50.0,
  },
)

FG_OVD = Case(
  'hard.jsonl',
  _lines(
    [
      {
        'img_path': f'val2017/{key:012d}.jpg',
        # A list of numbers as text, too.
        'bbox': [10, 20, 30, 40] if key else '[10, 20, 30, 40]',
        'width': 100,
        'height': 200,
        'pos_expression': [f'a red cup {key}'],
        'neg_expression': [f'a blue cup {key}', f'a green cup {key}']
        # The first holds its positive.
        + [f'a red cup {key}'] * (key == 0),
      }
      for key in range(6)
    ]
  ),
  'FG-OVD',
  # First: 0, 1 and 2. Second: 3 and 4. Last: 5.
  {f'a red cup {key}': 1.0 for key in range(6)}
  | {f'a blue cup {key}': 0.0 if key < 3 else 2.0 for key in range(6)}
  | {f'a green cup {key}': 0.0 if key < 5 else 2.0 for key in range(6)},
  {'hard': (6, 50.0)},
  # Pairs: 3 x 2 + 2 x 1 of 12.
  more={'pairs.accuracy': 100 * 8 / 12, 'chance': 100 / 3},
)

_FOIL = [
  {
    'image_id': 391895,
    'id': key,
    'caption': f'a cat on a mat {key}',
    'foil': False,
    'foil_id': key,
    'foil_word': 'ORIG',
    'target_word': 'ORIG',
  }
  for key in range(3)
] + [
  {
    'image_id': 391895,
    'id': key,
    'caption': f'a {word} on a mat {key}',
    'foil': True,
    'foil_id': 10 + key,
    'foil_word': word,
    'target_word': 'cat',
  }
  for key, word in ((0, 'dog'), (0, 'cow'), (1, 'dog'))
]

FOIL = Case(
  'foilv1.json',
  json.dumps({'info': {}, 'images': [], 'annotations': _FOIL}),
  'FOIL',
  # Captions 0 and 2 are accepted; of the foils, the first cow is rejected.
  {
    'a cat on a mat 0': 1.0,
    'a cat on a mat 1': -1.0,
    'a cat on a mat 2': 3.0,
    'a dog on a mat 0': 0.5,
    'a cow on a mat 0': -0.5,
    'a dog on a mat 1': 0.5,
  },
  # Caption 2 has no foil, so two items: 0 is above both of its foils.
  {'foilv1': (2, 50.0)},
  more={'pairs.accuracy': 100 * 2 / 3},
)

ARO = Case(
  'visual_genome_relation.json',
  json.dumps(
    [
      {
        'image_path': f'{key + 2_300_000}.jpg',
        'bbox_x': 1,
        'bbox_y': 2,
        'bbox_w': 30,
        'bbox_h': 40,
        'true_caption': f'the cat is on the mat {key}',
        'false_caption': f'the mat is on the cat {key}',
        'relation_name': 'on' if key < 4 else 'behind',
      }
      for key in range(6)
    ]
  ),
  'ARO',
  # Right: 0, 1 and 2 of four, 4 of two.
  {f'the cat is on the mat {key}': 1.0 for key in range(6)}
  | {
    f'the mat is on the cat {key}': 0.0 if key in (0, 1, 2, 4) else 3.0
    for key in range(6)
  },
  {'visual_genome_relation': (6, 100 * 4 / 6)},
  more={
    'details.accuracy': 100 * (3 / 4 + 1 / 2) / 2,
    'same_words.accuracy': 100 * 4 / 6,
  },
)

VL_CHECKLIST = Case(
  'color.json',
  json.dumps(
    [
      [
        f'VG_100K/{key + 1}.jpg',
        {'POS': [f'red cup {key}'], 'NEG': [f'blue cup {key}']},
      ]
      for key in range(5)
    ]
    + [['VG_100K_2/7.jpg', {'POS': ['red cup'], 'NEG': ['red cup']}]]
  ),
  'VL-CheckList',
  {f'red cup {key}': float(key) for key in range(5)}
  | {f'blue cup {key}': 1.5 for key in range(5)},
  {'color': (5, 60.0)},
  {'equal': 1},
)

NEG_CLIP = Case(
  'valid.tsv',
  '\ttitle\tfilepath\tneg_caption\tneg_image\n'
  + ''.join(
    f'{row}\ta cat and a dog {row}\tcoco/val2014/COCO_val2014_{row:012d}.jpg\t'
    f'{foils}\t[1, 2, 3]\n'
    for row, foils in enumerate(
      [
        ['a dog and a cat 0', "a dog's cat 0"],
        ['a dog and a cat 1'],
        ['a dog and a cat 2', 'a mat 2', 'a hat 2'],
        ['a dog and a cat 3'],
        ['a dog and a cat 4'],
        [],
      ]
    )
  ),
  'NegCLIP table',
  # Above each: 0, 1 and 3. Above two of three: 2. A tie: 4.
  {f'a cat and a dog {row}': 1.0 for row in range(5)}
  | {f'a dog and a cat {row}': 0.0 for row in range(4)}
  | {
    "a dog's cat 0": 0.5,
    'a mat 2': 2.0,
    'a hat 2': -1.0,
    'a dog and a cat 4': 1.0,
  },
  {'valid': (5, 60.0)},
  {'no_text': 1},
  # Only 1, 3 and 4 have no other words; 4 is a tie.
  more={'same_words.count': 3, 'same_words.accuracy': 200 / 3, 'ties': 1},
)

# Scores of caption 0 and 1 with picture 0, then with picture 1; and whether
# text, image and group are right.
_QUADS = (
  ((2, 1), (1, 2), (1, 1, 1)),
  ((2, 1), (3, 4), (1, 0, 0)),
  ((2, 3), (1, 4), (0, 1, 0)),
  ((1, 2), (2, 1), (0, 0, 0)),
  ((2, 2), (1, 3), (0, 1, 0)),
  ((5, 0), (0, 5), (1, 1, 1)),
)

WINOGROUND = Case(
  'examples.jsonl',
  _lines(
    [
      {
        'id': key,
        'image_0': f'ex_{key}_img_0',
        'image_1': f'ex_{key}_img_1',
        'caption_0': f'some plants around a bulb {key}',
        'caption_1': f'a bulb around some plants {key}',
        'collapsed_tag': 'Object' if key < 4 else 'Relation',
      }
      for key in range(6)
    ]
  ),
  'Winoground',
  {
    (text.format(key), f'ex_{key}_img_{picture}'): float(own[place])
    for key, (*scores, _) in enumerate(_QUADS)
    for picture, own in enumerate(scores)
    for place, text in enumerate(
      ('some plants around a bulb {}', 'a bulb around some plants {}')
    )
  },
  {'Object': (4, 25.0), 'Relation': (2, 50.0)},
  more={
    'accuracy': 100 * 2 / 6,
    'text.accuracy': 50.0,
    'image.accuracy': 100 * 4 / 6,
    'same_words.count': 6,
    'chance': 100 / 6,
    'ties': 1,
  },
)

CASES = (
  SUGAR_CREPE,
  SUGAR_CREPE_PP,
  BIVLC,
  VALSE,
  FG_OVD,
  FOIL,
  ARO,
  VL_CHECKLIST,
  NEG_CLIP,
  WINOGROUND,
)


def write(folder: Path, case: Case) -> Path:
  """Writes the file of a case; returns its path."""
  path = folder / case.name
  path.write_text(case.text, 'utf-8')
  return path


def scored(
  file: records.FoilFile, score: Callable[[str, str], float]
) -> list[measuring.Scored]:
  """Returns items with scores.

  Args:
    file: the items.
    score: of a sentence and the first name of a picture.
  """
  found = []
  for item in file.items:
    own, *_ = item.names
    found.append(
      measuring.Scored(
        item,
        np.array([score(text, own) for text in item.captions], np.float32),
        np.array([score(text, own) for text in item.foils], np.float32),
        others=(
          score(item.captions[0], item.other_names[0]),
          score(item.foils[0], item.other_names[0]),
        )
        if item.other_names
        else None,
        picture=own,
      )
    )
  return found
