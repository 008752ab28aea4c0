import dataclasses

import numpy as np
import pytest

from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data.dataset import Vocabulary
from tagsdc_jax.data.world import grammar
from tagsdc_jax.errors import UserError

_WORDS = [
  '[PAD]',
  '[unused1]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  '!',
  '.',
  'a',
  'dog',
  'skate',
  '##board',
  'Dog',
  '\u2028',
  '##',
]


def _write(path, words=_WORDS):
  path.write_text(''.join(f'{word}\n' for word in words), 'utf-8')
  return path


@pytest.fixture(name='vocabulary')
def _vocabulary(tmp_path):
  return captions_lib.load_vocabulary(_write(tmp_path / 'vocab.txt'))


def test_load_vocabulary(vocabulary):
  assert vocabulary.size == 15
  assert (
    vocabulary.pad,
    vocabulary.unk,
    vocabulary.cls,
    vocabulary.sep,
    vocabulary.mask,
  ) == (0, 2, 3, 4, 5)
  assert vocabulary.random_range == (6, 15)
  assert vocabulary.words == tuple(_WORDS)


def test_load_vocabulary_from_a_folder_and_windows_lines(tmp_path):
  # As Windows writes it: a mark in front, two characters per end of line.
  (tmp_path / 'vocab.txt').write_bytes('\r\n'.join(_WORDS).encode('utf-8-sig'))
  assert captions_lib.load_vocabulary(str(tmp_path)).words == tuple(_WORDS)


def test_random_range(tmp_path):
  path = _write(tmp_path / 'vocab.txt')
  assert captions_lib.load_vocabulary(path, (7, 9)).random_range == (7, 9)
  with pytest.raises(UserError, match=r'15 tokens, got \[7, 16\)'):
    captions_lib.load_vocabulary(path, (7, 16))
  words = [word for word in _WORDS if word != '!']
  path = _write(tmp_path / 'other.txt', words)
  assert captions_lib.load_vocabulary(path).random_range == (6, 14)


def test_missing_special_token(tmp_path):
  path = _write(tmp_path / 'vocab.txt', ['[PAD]', '[CLS]', 'a'])
  with pytest.raises(UserError, match=r'no \[UNK\], \[SEP\], \[MASK\] among'):
    captions_lib.load_vocabulary(path)


@pytest.mark.parametrize(
  'name', ['missing.txt', './missing', 'a/b/missing', '~/missing']
)
def test_missing_file(name):
  with pytest.raises(
    UserError,
    match='vocabulary file .*missing is missing|'
    'vocabulary file .*missing.txt is missing',
  ):
    captions_lib.load_vocabulary(name)


def test_folder_without_vocabulary(tmp_path):
  with pytest.raises(UserError, match='vocab.txt is missing'):
    captions_lib.load_vocabulary(tmp_path)


def test_not_utf8(tmp_path):
  (tmp_path / 'vocab.txt').write_bytes(b'\xff\xfe')
  with pytest.raises(UserError, match='must be UTF-8 text'):
    captions_lib.load_vocabulary(tmp_path)


def test_hub_name_offline(monkeypatch):
  import transformers

  def fail(*unused_args, **unused_options):
    raise OSError('no connection\nmore lines')

  monkeypatch.setattr(transformers.BertTokenizer, 'from_pretrained', fail)
  for load in (captions_lib.load_vocabulary, captions_lib.load_tokenizer):
    with pytest.raises(UserError) as raised:
      load('bert-base-cased')
    assert 'vocabulary bert-base-cased' in str(raised.value)
    assert '(no connection)' in str(raised.value)
    assert 'pass the path of a vocab.txt file' in str(raised.value)


def test_hub_model_without_files(monkeypatch, tmp_path):
  import transformers

  empty = captions_lib.load_tokenizer(
    _write(
      tmp_path / 'vocab.txt', ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    )
  )
  tried = []

  def load(*unused_args, **options):
    tried.append(options)
    return empty  # Version 5 does not say that there is nothing.

  monkeypatch.setattr(transformers.BertTokenizer, 'from_pretrained', load)
  with pytest.raises(UserError, match='no vocabulary was found'):
    captions_lib.load_vocabulary('bert-nonesuch')
  assert tried == [{'local_files_only': True}, {}]


def test_hub_name(monkeypatch, tmp_path):
  import transformers

  words = [word for word in _WORDS if word.strip()]
  tokenizer = captions_lib.load_tokenizer(_write(tmp_path / 'vocab.txt', words))
  monkeypatch.setattr(
    transformers.BertTokenizer,
    'from_pretrained',
    lambda *unused_args, **unused_options: tokenizer,
  )
  assert captions_lib.load_vocabulary('bert-toy').words == tuple(words)
  assert captions_lib.load_tokenizer('bert-toy') is tokenizer


def test_pad_caption(vocabulary):
  row = captions_lib.pad_caption(np.array([8, 9], np.int32), 4, vocabulary)
  np.testing.assert_array_equal(row, [3, 8, 9, 4, 0, 0])
  assert row.dtype == np.int32
  row = captions_lib.pad_caption(np.array([8, 9], np.int32), 2, vocabulary)
  np.testing.assert_array_equal(row, [3, 8, 9, 4])
  with pytest.raises(UserError, match='at most max_tokens = 1 tokens, got 2'):
    captions_lib.pad_caption(np.array([8, 9], np.int32), 1, vocabulary)


def test_tokenize(tmp_path, vocabulary):
  tokenizer = captions_lib.load_tokenizer(_write(tmp_path / 'vocab.txt'))
  token_ids = captions_lib.tokenize(' a Dog skateboard  cat!', tokenizer)
  np.testing.assert_array_equal(token_ids, [8, 12, 10, 11, 2, 6])
  assert token_ids.dtype == np.int32
  assert captions_lib.to_words(token_ids, vocabulary) == (
    'a Dog skateboard [UNK] !'
  )
  with pytest.raises(UserError, match="at least one token, got ' '"):
    captions_lib.tokenize(' ', tokenizer)


def test_lower_case_is_seen_from_the_vocabulary(tmp_path):
  words = [word for word in _WORDS if word != 'Dog']
  path = _write(tmp_path / 'vocab.txt', words)
  lower = captions_lib.load_tokenizer(path)
  np.testing.assert_array_equal(captions_lib.tokenize('A DOG', lower), [8, 9])
  cased = captions_lib.load_tokenizer(path, lower_case=False)
  np.testing.assert_array_equal(captions_lib.tokenize('A dog', cased), [2, 9])


def test_to_words(vocabulary):
  row = [3, 8, 5, 10, 11, 14, 99, 4, 0, 0]
  assert captions_lib.to_words(row, vocabulary) == (
    'a [MASK] skateboard ## [99]'
  )
  assert captions_lib.to_words([], vocabulary) == ''


def _decodes(pieces, text):
  words = tuple(
    dict.fromkeys(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *pieces])
  )
  vocabulary = Vocabulary(len(words), 0, 1, 2, 3, 4, (5, len(words)), words)
  return captions_lib.is_decoding(
    [words.index(x) for x in pieces], text, vocabulary
  )


@pytest.mark.parametrize(
  'pieces, text, expected',
  [
    (['a', 'do', '##g', "'", 's', 'ball', '.'], "A dog's  ball .", True),
    # What an uncased tokenizer drops, and what a cased one keeps.
    (['cafe', 'uber'], 'Cafe\u0301 \u00dcber', True),
    (['Caf\u00e9'], 'Caf\u00e9', True),
    (
      ['\u043a', '##\u043e', '\u03c3\u03bf\u03c2', '\u732b', '\u72ac'],
      '\u041a\u041e \u03a3\u039f\u03a3 \u732b\u72ac',
      True,
    ),
    (['a', 'stra\u00dfe'], 'A STRA\u00dfE', True),
    (['[UNK]', 'on', 'a', '[UNK]', '.'], '\u2603 on a sofa\u2603 .', True),
    (['[UNK]'], 'x', True),
    (['a', '[UNK]', 'dog'], 'a cat dog', True),
    (['a', '[UNK]', 'dog'], 'a dog', False),  # It stands for something.
    (['[UNK]', 'dog', 'dog'], 'dog dog', False),
    (['a', 'dog'], 'a dog that was cut off', True),
    (['a', 'dog', 'runs'], 'a dog', False),
    (['the', 'dog'], 'a dog', False),
    (['a', 'cat'], 'a dog', False),
    (['a', '[UNK]', 'cat'], 'a small dog', False),
  ],
)
def test_is_decoding(pieces, text, expected):
  assert _decodes(pieces, text) is expected


def test_many_unknown_words_take_no_time():
  assert not _decodes(['[UNK]', 'a'] * 200 + ['z'], 'ba' * 2000)


def test_sentences_of_whole_words():
  vocabulary = grammar.VOCABULARY
  encode = captions_lib.make_encoder(vocabulary)
  found = encode('A red  [MASK] north of a\tstar')
  assert found.dtype == np.int32
  words = ('a', 'red', '[MASK]', 'north', 'of', 'a', 'star')
  assert grammar.to_words(found) == words
  with pytest.raises(UserError, match="no word 'stars' .nearest: 'star'."):
    encode('a red stars')
  cased = dataclasses.replace(vocabulary, words=(*grammar.WORDS, 'Star'))
  with pytest.raises(UserError, match="no word 'A'"):
    captions_lib.make_encoder(cased)('A star')
  with pytest.raises(UserError, match='set data.vocabulary to the'):
    captions_lib.make_encoder(dataclasses.replace(vocabulary, words=()))


def test_sentences_of_word_pieces():
  words = (*grammar.WORDS, '##s', '.')
  encode = captions_lib.make_encoder(
    dataclasses.replace(grammar.VOCABULARY, words=words)
  )
  found = [words[i] for i in encode('Red stars [MASK] circle.')]
  assert found == ['red', 'star', '##s', '[MASK]', 'circle', '.']
  with pytest.raises(UserError, match="no word 'banana'"):
    encode('a banana')
  with pytest.raises(UserError, match=r"Unicode text, got 'a .udcff'"):
    encode('a \udcff')  # A byte that is not UTF-8, on a command line.
  with pytest.raises(UserError, match='at least one token, got'):
    encode('\u200b')


def test_words_and_punctuation_without_pieces(tmp_path):
  path = tmp_path / 'vocab.txt'
  words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
  words += ['a', 'room', '.', 'e-mail']
  path.write_text('\n'.join(words), 'utf-8')
  vocabulary = captions_lib.load_vocabulary(path)
  # As `tagsdc prepare` reads it, but for words that have punctuation in them.
  assert captions_lib.make_encoder(vocabulary)('A room.').tolist() == [5, 6, 7]
  token_ids, spans = captions_lib.make_locator(vocabulary)('a  ROOM. e-mail x!')
  assert token_ids.tolist() == [5, 6, 7, 8, 1, 1]
  assert spans == ((0, 1), (3, 7), (7, 8), (9, 15), (16, 17), (17, 18))
