"""Measures scene graphs against graphs that people wrote, and their speed.

  .venv/bin/python launch/measure_scene_graphs.py --csv dev.csv
  .venv/bin/python launch/measure_scene_graphs.py --text-db DATA/txt_db

--csv: a file with the columns `caption` and `scene_graph` as FACTUAL publishes
them. Compared as sets per caption: objects by head noun; attributes by head
noun and last word; pairs by the head nouns of subject and object, whatever the
predicate. Folded, in both graphs: upper case, lemma, "two" and 2, lay and lie;
"X of Y" is the pair (Y, X). PyPI's `scenegraphparser` is measured beside ours
if it is installed.

--text-db: folder with UNITER text folders (*.db), for the captions that
tests/data/scene_graph_annotations.json annotates. An object is right if its
head word is an annotated one; an attribute if a word of it and its object are;
a relation if subject, object, and one word of the predicate are.

The rules were tuned on the first half of each.
"""

import argparse
import csv
import importlib.util
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tagsdc_jax import arguments, errors
from tagsdc_jax.data import phrases
from tagsdc_jax.data.lmdb_files import decode_text, get, open_folder
from tagsdc_jax.data.scene_graph import parsing
from tagsdc_jax.data.scene_graph.graph import SceneGraph, Span

ANNOTATIONS = (
  Path(__file__).parents[1] / 'tests/data/scene_graph_annotations.json'
)
KINDS = ('objects', 'attributes', 'relations')
NUMBERS = (
  'zero',
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
)
# Facts of one caption: kind -> set of tuples of words.
Facts = dict[str, set[tuple]]


def main() -> None:
  """Prints the tables."""
  parser = arguments.Parser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--csv', type=arguments.path)
  parser.add_argument('--text-db', type=arguments.folder)
  parser.add_argument(
    '--show',
    type=int,
    nargs=2,
    metavar=('FIRST', 'END'),
    help='print what differs in these captions',
  )
  options = parser.parse_args()
  if not options.csv and not options.text_db:
    parser.error('pass --csv, --text-db or both')
  try:
    if options.csv:
      measure_csv(options.csv, options.show)
    if options.text_db:
      measure_annotations(options.text_db, options.show)
  except errors.UserError as error:
    parser.error(str(error))


def measure_csv(path: Path, shown: list[int] | None) -> None:
  """Prints precision, recall and F1 of both halves, and captions/s."""
  with errors.named(path, 'read'):
    with path.open(encoding='utf-8', newline='') as file:
      rows = list(csv.DictReader(file))
  if not rows or not {'caption', 'scene_graph'} <= set(rows[0]):
    raise errors.UserError(
      f'{path} must have the columns caption and scene_graph, got '
      f'{", ".join(map(str, rows[0])) if rows else "no rows"}; pass a split of '
      'FACTUAL'
    )
  lemma = make_lemma()
  gold = [gold_facts(row['scene_graph'], lemma) for row in rows]
  texts = [row['caption'] for row in rows]
  next(parsing.parse(['a dog .']))
  start = time.perf_counter(), time.process_time()
  graphs = list(parsing.parse(texts * 4))[: len(texts)]
  wall, busy = time.perf_counter() - start[0], time.process_time() - start[1]
  found = [facts(graph, lemma) for graph in graphs]
  count = 4 * len(texts)
  print(
    f'{count / wall:.0f} captions/s in one process, {count / busy:.0f} per '
    'second of processor time'
  )
  for number in range(*(shown or (0, 0))):
    differ(texts[number], gold[number], found[number])
  report('ours', gold, found)
  if importlib.util.find_spec('sng_parser') is None:
    print('scenegraphparser is not installed, so it is not measured')
    return
  import sng_parser

  other = sng_parser.Parser('spacy', model=parsing.MODEL)
  report(
    'scenegraphparser',
    gold,
    [other_facts(other.parse(text), lemma) for text in texts],
  )


def measure_annotations(folder: Path, shown: list[int] | None) -> None:
  """Prints precision and recall on the annotated captions."""
  annotated = json.loads(ANNOTATIONS.read_text('utf-8'))['captions']
  texts = dict(read_texts(folder, set(annotated)))
  missing = set(annotated) - set(texts)
  if missing:
    raise errors.UserError(
      f'{folder} must have the {len(annotated)} annotated captions, but '
      f'{len(missing)} are missing, e.g. {min(missing)}; pass the folder of '
      'the *.db folders of flickr8k_mini'
    )
  gold, found = [], []
  for caption_id, graph in zip(
    annotated, parsing.parse(texts[i] for i in annotated)
  ):
    a, b = annotated_facts(annotated[caption_id], graph)
    gold.append(a)
    found.append(b)
    if shown and shown[0] <= len(gold) - 1 < shown[1]:
      differ(graph.text, a, b)
  report('ours', gold, found)


def read_texts(folder: Path, wanted: set[str]) -> Iterator[tuple[str, str]]:
  """Yields id and text of the wanted captions of all *.db folders."""
  for path in sorted(folder.glob('*.db')):
    names = json.loads((path / 'id2len.json').read_text('utf-8'))
    with open_folder(path, 'text').begin() as transaction:
      for name in wanted & set(names):
        record = decode_text(get(transaction, name, name), name)
        yield name, record['raw']


def report(name: str, gold: list[Facts], found: list[Facts]) -> None:
  """Prints a line for each half and kind."""
  middle = len(gold) // 2
  for half, part in (
    ('tuned on', slice(0, middle)),
    ('held out', slice(middle, None)),
    ('all', slice(None)),
  ):
    for kind in KINDS:
      pairs = [
        (a[kind], b[kind]) for a, b in zip(gold[part], found[part], strict=True)
      ]
      right = sum(len(a & b) for a, b in pairs)
      precision = right / max(1, sum(len(b) for _, b in pairs))
      recall = right / max(1, sum(len(a) for a, _ in pairs))
      f1 = 2 * precision * recall / max(1e-9, precision + recall)
      print(
        f'{name:17} {half:8} {kind:11} P {precision:.3f} R {recall:.3f} '
        f'F1 {f1:.3f}'
      )


def differ(text: str, gold: Facts, found: Facts) -> None:
  """Prints what is missing and what is too much."""
  lines = [
    f'    {kind}: missing {sorted(gold[kind] - found[kind], key=str)} '
    f'wrong {sorted(found[kind] - gold[kind], key=str)}'
    for kind in KINDS
    if gold[kind] != found[kind]
  ]
  if lines:
    print(text, *lines, sep='\n')


def make_lemma() -> Callable[[str], str]:
  """Returns a function from a head word to what it is compared by."""
  import spacy
  from spacy.tokens import Doc

  nlp = spacy.load(parsing.MODEL)
  lemmatizer: Any = nlp.get_pipe('lemmatizer')

  def lemma(word: str) -> str:
    word = word.lower()
    if word in NUMBERS:
      return str(NUMBERS.index(word))
    doc = Doc(nlp.vocab, words=[word], pos=['NOUN'])
    return lemmatizer.lemmatize(doc[0])[0]

  return lemma


def last(words: str) -> str:
  """Returns the word that a phrase is compared by."""
  return words.removesuffix(' of').split()[-1]


def gold_facts(graph: str, lemma: Callable[[str], str]) -> Facts:
  """Returns the facts of "( a , predicate , b ) , ( a , is , attribute )"."""
  out: Facts = {kind: set() for kind in KINDS}
  for entry in re.findall(r'\(([^()]*)\)', graph):
    parts = [part.strip() for part in entry.split(' , ')]
    if not all(parts):
      continue
    out['objects'].add((lemma(last(parts[0])),))
    if len(parts) != 3:
      continue
    if parts[1] == 'is':
      out['attributes'].add((lemma(last(parts[0])), folded(parts[2], lemma)))
    else:
      out['objects'].add((lemma(last(parts[2])),))
      out['relations'].add((lemma(last(parts[0])), lemma(last(parts[2]))))
  return out


def folded(attribute: str, lemma: Callable[[str], str]) -> str:
  """Returns an attribute's last word, numbers as digits."""
  word = last(attribute).lower()
  return {'lying': 'laying'}.get(word, lemma(word) if word in NUMBERS else word)


def facts(graph: SceneGraph, lemma: Callable[[str], str]) -> Facts:
  """Returns our graph's facts."""
  at = lambda span: graph.text[slice(*span)]
  out: Facts = {kind: set() for kind in KINDS}
  for phrase in graph.phrases:
    heads = [lemma(at(span)) for span in phrase.heads]
    if phrase.kind == phrases.OBJECT:
      out['objects'].add((heads[0],))
    elif phrase.kind == phrases.ATTRIBUTE:
      out['attributes'].add((heads[0], folded(at(phrase.heads[1]), lemma)))
    elif graph.words(phrase).lower() == 'of':
      out['relations'].add((heads[2], heads[0]))
    else:
      out['relations'].add((heads[0], heads[2]))
  return out


def other_facts(graph: dict, lemma: Callable[[str], str]) -> Facts:
  """Returns the facts of a graph of scenegraphparser."""
  names = [lemma(last(entity['head'])) for entity in graph['entities']]
  out: Facts = {kind: set() for kind in KINDS}
  out['objects'] = {(name,) for name in names}
  for name, entity in zip(names, graph['entities'], strict=True):
    for modifier in entity['modifiers']:
      if modifier['dep'] != 'det':
        out['attributes'].add((name, folded(modifier['span'], lemma)))
  for relation in graph['relations']:
    pair = names[relation['subject']], names[relation['object']]
    out['relations'].add(pair[::-1] if relation['relation'] == 'of' else pair)
  return out


def annotated_facts(gold: dict, graph: SceneGraph) -> tuple[Facts, Facts]:
  """Returns both sides by word positions.

  A phrase that fits an annotated one is written as that one is, so that equal
  sets are what fits.
  """
  words = [match.span() for match in re.finditer(r'\S+', graph.text)]

  def places(spans: Iterable[Span]) -> set[int]:
    return {
      n
      for start, end in spans
      for n, (low, high) in enumerate(words)
      if low < end and start < high
    }

  def place(span: Span) -> int:
    return min(places([span]))

  expected: Facts = {
    'objects': {(x,) for x in gold['objects']},
    'attributes': {(w, tuple(o)) for w, o in gold['attributes']},
    'relations': {(tuple(s), tuple(p), o) for s, p, o in gold['relations']},
  }
  found: Facts = {kind: set() for kind in KINDS}
  for phrase in graph.phrases:
    heads = [place(span) for span in phrase.heads]
    own = places(phrase.spans)
    if phrase.kind == phrases.OBJECT:
      found['objects'].add((heads[0],))
    elif phrase.kind == phrases.ATTRIBUTE:
      found['attributes'].add(
        next(
          (
            (w, o)
            for w, o in expected['attributes']
            if w in own and heads[0] in o
          ),
          (heads[1], (heads[0],)),
        )
      )
    else:
      subject, _, other = heads
      found['relations'].add(
        next(
          (
            (s, p, o)
            for s, p, o in expected['relations']
            if subject in s and other == o and own & set(p)
          ),
          ((subject,), tuple(sorted(own)), other),
        )
      )
  return expected, found


if __name__ == '__main__':
  main()
