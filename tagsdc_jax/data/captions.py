"""Vocabulary, tokenizing and padding of captions. Numpy only.

The tokenizer of `transformers` is imported inside the functions that need it,
so that training on prepared token ids never loads it.
"""

import difflib
import functools
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax.data.dataset import Vocabulary
from tagsdc_jax.errors import UserError
from tagsdc_jax.paths import local

_NO_WORDS = (
  'sentences can only be read with the words of the vocabulary, and the data '
  'has token ids alone; set data.vocabulary to the vocab.txt that the captions '
  'were written with'
)
_SPECIAL_TOKENS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')


def load_vocabulary(
  name_or_path: str | os.PathLike, random_range: tuple[int, int] | None = None
) -> Vocabulary:
  """Returns the vocabulary of a BERT vocab.txt file or of a hub model.

  Args:
    name_or_path: a vocab.txt file (one token per line; the line number is the
      id), a folder that contains one, or a model name such as
      "bert-base-cased", which `transformers` looks up in its cache or on the
      hub.
    random_range: [low, high), ids that may replace a token when masking. None:
      from the id of "!" to the end, as in UNITER's meta.json; without a "!",
      from the first id after the special tokens.
  Raises:
    UserError: if the file or model is missing, or a special token is.
  """
  path = _vocabulary_path(name_or_path)
  if path is not None:
    words = read_words(path)
  else:
    words = _hub_words(str(name_or_path))
  ids = {word: number for number, word in enumerate(words)}
  missing = [token for token in _SPECIAL_TOKENS if token not in ids]
  if missing:
    raise UserError(
      f'vocabulary {name_or_path} has no {", ".join(missing)} among its '
      f'{len(words)} tokens; pass the vocab.txt of a BERT model'
    )
  pad, unk, cls, sep, mask = (ids[token] for token in _SPECIAL_TOKENS)
  if random_range is None:
    low = ids.get('!', max(pad, unk, cls, sep, mask) + 1)
    random_range = (low, len(words))
  low, high = random_range
  if not 0 <= low < high <= len(words):
    raise UserError(
      f'random_range of vocabulary {name_or_path} must be [low, high) within '
      f'its {len(words)} tokens, got [{low}, {high})'
    )
  return Vocabulary(
    size=len(words),
    pad=pad,
    unk=unk,
    cls=cls,
    sep=sep,
    mask=mask,
    random_range=(low, high),
    words=words,
  )


def read_words(path: Path) -> tuple[str, ...]:
  """Returns the tokens of a vocab.txt file, one string per id."""
  try:
    text = path.read_bytes().decode('utf-8-sig')
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'vocabulary file {path} must be UTF-8 text with one token per line, '
      f'got: {error}; pass the vocab.txt of a BERT model'
    ) from error
  # Not splitlines(): a vocabulary may contain U+2028 and the like as tokens.
  lines = [line.rstrip('\r') for line in text.split('\n')]
  if lines and not lines[-1]:
    lines.pop()
  return tuple(lines)


def pad_caption(
  token_ids: np.ndarray, max_tokens: int, vocabulary: Vocabulary
) -> np.ndarray:
  """Returns [CLS], the tokens, [SEP] and padding.

  Args:
    token_ids: int [length], without special tokens.
    max_tokens: length of the longest caption, without special tokens.
  Returns:
    int32 [L] with L = max_tokens + 2.
  Raises:
    UserError: if the caption is longer than max_tokens.
  """
  length = len(token_ids)
  if length > max_tokens:
    raise UserError(
      f'a caption must have at most max_tokens = {max_tokens} tokens, got '
      f'{length}; raise max_tokens or shorten the text'
    )
  row = np.full(max_tokens + 2, vocabulary.pad, np.int32)
  row[0] = vocabulary.cls
  row[1 : length + 1] = token_ids
  row[length + 1] = vocabulary.sep
  return row


def load_tokenizer(
  name_or_path: str | os.PathLike, lower_case: bool | None = None
) -> Any:
  """Returns a BERT tokenizer for `tokenize`.

  Args:
    name_or_path: as in `load_vocabulary`.
    lower_case: whether to lowercase the text first. None: for a file, yes if
      no token except the special ones has an uppercase letter; for a hub
      model, as it is configured.
  Raises:
    UserError: if the file or model is missing.
  """
  path = _vocabulary_path(name_or_path)
  if path is None:
    options = {} if lower_case is None else {'do_lower_case': lower_case}
    return _hub_tokenizer(str(name_or_path), options)
  if lower_case is None:
    lower_case = is_lower_case(read_words(path))
  from transformers import BertTokenizer

  return BertTokenizer(str(path), do_lower_case=lower_case)


def tokenize(text: str, tokenizer: Any) -> np.ndarray:
  """Returns the token ids of a sentence, int32 [length], no special tokens.

  Args:
    tokenizer: from `load_tokenizer`.
  Raises:
    UserError: if the text has no tokens.
  """
  token_ids = tokenizer(text, add_special_tokens=False)['input_ids']
  if not token_ids:
    raise UserError(f'a sentence must have at least one token, got {text!r}')
  return np.asarray(token_ids, np.int32)


def tokenize_with_offsets(
  text: str, tokenizer: Any
) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
  """Returns the token ids of a sentence, and which characters each stands for.

  Args:
    tokenizer: from `load_tokenizer`.
  Returns:
    int32 [length], as `tokenize`, but perhaps none; and [start, end) of each
    token in the text.
  """
  fast = tokenizer if tokenizer.is_fast else _fast_form(tokenizer)
  found = fast(text, add_special_tokens=False, return_offsets_mapping=True)
  token_ids, offsets = found['input_ids'], found['offset_mapping']
  return (
    np.asarray(token_ids, np.int32),
    tuple((int(start), int(end)) for start, end in offsets),
  )


@functools.lru_cache(maxsize=4)
def _fast_form(tokenizer: Any) -> Any:
  """Returns what version 5 of transformers loads, from version 4's."""
  from transformers import PreTrainedTokenizerFast
  from transformers.convert_slow_tokenizer import convert_slow_tokenizer

  return PreTrainedTokenizerFast(
    tokenizer_object=convert_slow_tokenizer(tokenizer),
    **tokenizer.special_tokens_map,
  )


def make_encoder(vocabulary: Vocabulary) -> Callable[[str], np.ndarray]:
  """Returns a function from a sentence to int32 token ids [length].

  By WordPiece if the vocabulary has pieces of words ("##s"), else by the words
  between spaces, and by WordPiece where the vocabulary lacks one. Text is
  lower-cased if no word of the vocabulary has an upper-case letter. [CLS] and
  [SEP] are not added. The function raises UserError for an empty sentence and
  for unknown words.

  Args:
    vocabulary: with words.
  Raises:
    UserError: if the words are not known.
  """
  locate, words = make_locator(vocabulary), vocabulary.words
  split = lambda text: locate(text)[0].tolist()

  def encode(text: str) -> np.ndarray:
    if not isinstance(text, str) or not text.strip():
      raise UserError(
        f'a sentence must be a str with at least one word, got {text!r}'
      )
    try:
      text.encode()
    except UnicodeEncodeError as error:
      raise UserError(
        f'a sentence must be Unicode text, got {text!r}; pass it as UTF-8'
      ) from error
    for word in text.split():
      if vocabulary.unk in split(word) and word != words[vocabulary.unk]:
        close = difflib.get_close_matches(word.lower(), words, 1)
        raise UserError(
          f'the vocabulary has no word {word!r}'
          + (f' (nearest: {close[0]!r})' if close else '')
          + f', in the sentence {text!r}; use words of the training captions'
        )
    token_ids = np.asarray(split(text), np.int32)
    if not len(token_ids):  # Such as U+200B, which tokenizers drop.
      raise UserError(f'a sentence must have at least one token, got {text!r}')
    return token_ids

  return encode


def make_locator(
  vocabulary: Vocabulary,
) -> Callable[[str], tuple[np.ndarray, tuple[tuple[int, int], ...]]]:
  """Returns a function from a sentence to its tokens and their characters.

  Reads as `make_encoder` does, but accepts unknown words, as [UNK], and
  sentences without words. The function returns int32 [length] and [start, end)
  of each token.

  Args:
    vocabulary: with words.
  Raises:
    UserError: if the words are not known.
  """
  words = vocabulary.words
  if not words:
    raise UserError(_NO_WORDS)
  if any(word.startswith('##') for word in words):
    tokenizer = _word_piece(words)
    return lambda text: tokenize_with_offsets(text, tokenizer)
  split = _make_whole_words(vocabulary)

  def locate(text: str) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    found = split(text)
    token_ids = np.array([token for token, *_ in found], np.int32)
    return token_ids, tuple((start, end) for _, start, end in found)

  return locate


def _make_whole_words(
  vocabulary: Vocabulary,
) -> Callable[[str], list[tuple[int, int, int]]]:
  """Returns a function from a sentence to (token, start, end) of its words.

  Words that the vocabulary lacks are read by WordPiece, as `tagsdc prepare`
  reads all: "room." as "room" and ".".
  """
  words = vocabulary.words
  ids = {word: number for number, word in enumerate(words)}
  if is_lower_case(words):
    # As they are first: [MASK] and the like.
    find = lambda word: ids.get(word, ids.get(word.lower(), vocabulary.unk))
  else:
    find = lambda word: ids.get(word, vocabulary.unk)
  pieces = functools.cache(lambda: _word_piece(vocabulary.words))

  def split(text: str) -> list[tuple[int, int, int]]:
    found = []
    for word in re.finditer(r'\S+', text):
      token = find(word[0])
      if token != vocabulary.unk or word[0] == words[vocabulary.unk]:
        found.append((token, *word.span()))
        continue
      ids, spans = tokenize_with_offsets(word[0], pieces())
      found += [
        (int(one), word.start() + start, word.start() + end)
        for one, (start, end) in zip(ids, spans, strict=True)
      ]
    return found

  return split


def _word_piece(words: Sequence[str]) -> Any:
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / 'vocab.txt'
    path.write_text(''.join(f'{word}\n' for word in words), 'utf-8')
    return load_tokenizer(path)


def is_lower_case(words: Sequence[str]) -> bool:
  """Returns whether no word but the special tokens has an upper-case letter."""
  return not any(
    word != word.lower() for word in words if not word.startswith('[')
  )


def to_words(
  token_ids: Sequence[int] | np.ndarray,
  vocabulary: Vocabulary,
  *,
  is_padded: bool = True,
) -> str:
  """Returns the tokens as a readable sentence, with word pieces joined.

  [MASK] and [UNK] are shown. A token without a known word is shown as its id,
  e.g. "[107]".

  Args:
    is_padded: whether to leave out [PAD], [CLS] and [SEP], which otherwise a
      network has written into the sentence.
  """
  hidden = (vocabulary.pad, vocabulary.cls, vocabulary.sep) * is_padded
  text = ''
  for token in (int(token) for token in token_ids):
    if token in hidden:
      continue
    if 0 <= token < len(vocabulary.words):
      word = vocabulary.words[token]
    else:
      word = f'[{token}]'
    if continues_word(word):
      text += word[2:]
    else:
      text += ' ' + word
  return text.strip()


def is_piece(token: int, vocabulary: Vocabulary) -> bool:
  """Returns whether a token continues the word before it."""
  known = vocabulary.words
  return 0 <= token < len(known) and continues_word(known[token])


def continues_word(word: str) -> bool:
  """Returns whether an entry of a vocabulary continues the word before it."""
  return word.startswith('##') and len(word) > 2


def is_decoding(
  token_ids: Sequence[int] | np.ndarray, text: str, vocabulary: Vocabulary
) -> bool:
  """Returns whether tokens decode to a sentence or to its beginning.

  Case, accents and spaces are ignored, as tokenizers drop them; [UNK] matches
  anything.

  Args:
    token_ids: int [length].
    text: the raw sentence.
    vocabulary: must contain its words.
  """
  first, *others = map(
    _squeezed,
    to_words(token_ids, vocabulary).split(vocabulary.words[vocabulary.unk]),
  )
  left = _squeezed(text)
  # Only a prefix has to match, as long captions may have been truncated.
  if not left.startswith(first):
    return False
  place = len(first)
  for part in others:
    start = left.find(part, place + 1)
    if start < 0:
      return False
    place = start + len(part)
  return True


def _squeezed(text: str) -> str:
  # Categories M and C: accents, which NFD separates, and control characters.
  return ''.join(
    x
    for x in unicodedata.normalize('NFD', text.casefold())
    if not x.isspace()
    and unicodedata.category(x)[0] not in 'MC'
    and x != '\ufffd'
  )


def _vocabulary_path(name_or_path: str | os.PathLike) -> Path | None:
  """Returns the vocabulary file, or None if the name is a hub model's."""
  path = local(os.fspath(name_or_path))
  if path.is_dir():
    path = path / 'vocab.txt'
  elif not path.exists() and not _is_path_like(name_or_path):
    return None
  if not path.is_file():
    raise UserError(
      f'vocabulary file {path} is missing; pass the vocab.txt of a BERT '
      'model or a model name such as bert-base-cased'
    )
  return path


def _is_path_like(name_or_path: str | os.PathLike) -> bool:
  """Returns whether this cannot be a hub name ("name" or "owner/name")."""
  text = os.fspath(name_or_path)
  return (
    isinstance(name_or_path, os.PathLike)
    or text.endswith('.txt')
    or text.startswith(('.', '~', os.sep))
    or text.count('/') > 1
  )


def _hub_tokenizer(name: str, options: dict[str, Any]) -> Any:
  from transformers import BertTokenizer

  def load(**more: Any) -> Any:
    tokenizer = BertTokenizer.from_pretrained(name, **options, **more)
    # Version 5 returns an empty tokenizer if the model has no files.
    if set(tokenizer.get_vocab()) <= set(_SPECIAL_TOKENS):
      raise OSError('no vocabulary was found')
    return tokenizer

  try:
    # The cache first: without a network the hub client retries for a minute.
    return load(local_files_only=True)
  except (OSError, ValueError):
    pass
  try:
    # Imported here: launch/bench.sh runs without tqdm.
    from tagsdc_jax.runtime import progress

    with progress.waiting(f'looking up vocabulary {name} on the hub'):
      return load()
  except (OSError, ValueError) as error:
    raise UserError(
      f'vocabulary {name} is neither a file nor a model that could be '
      f'downloaded ({str(error).splitlines()[0]}); without a network, pass '
      'the path of a vocab.txt file'
    ) from error


def _hub_words(name: str) -> tuple[str, ...]:
  vocabulary = _hub_tokenizer(name, {}).get_vocab()
  words = tuple(sorted(vocabulary, key=vocabulary.__getitem__))
  if sorted(vocabulary.values()) != list(range(len(words))):
    raise UserError(
      f'the token ids of model {name} must be 0..{len(words) - 1} without '
      'gaps; pass the path of its vocab.txt file instead'
    )
  return words
