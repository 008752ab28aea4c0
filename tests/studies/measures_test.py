"""Measures by hand: ranks among attacks, words, score differences, judges."""

import types

import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.studies.measures import (
  attacks,
  gaps,
  items,
  judges,
  networks,
  words,
)


def _captions():
  """Two pictures with two captions each."""
  tokens = ([5, 6], [5, 7], [8, 6], [8, 9])
  return [
    dataset.Caption(str(i), i // 2, np.array(own, np.int32), (), '')
    for i, own in enumerate(tokens)
  ]


def _opened(source='uniter_lmdb'):
  """A split without a network."""
  settings = types.SimpleNamespace(data=types.SimpleNamespace(source=source))
  return types.SimpleNamespace(
    network=types.SimpleNamespace(settings=settings),
    data=types.SimpleNamespace(
      captions=_captions(), captions_of_image=[(0, 1), (2, 3)]
    ),
  )


def _value(found, number, picture):
  return [v for v, p in found[number][items.ALL] if p == picture]


def test_the_rank_among_captions_and_attacks():
  # Picture 0: its best caption has 2; one other caption has 3.
  scores = np.array([[2, 0], [1, 0], [3, 5], [0, 4]], np.float32)
  sentences = {0: np.array([2.0, 1.5, 9.0]), 1: np.array([4.9])}
  subject = networks.Subject(None, None, '')
  # The cached properties, without a network.
  vars(subject).update(opened=_opened(), scores=scores)
  found = attacks._ranks('static', subject, sentences)
  of = lambda name, picture, k: _value(
    found, f'{name}, static, k = {k}', picture
  )
  # A tie counts against the model; 5 attacks are more than there are.
  ranks = [of('mean rank', 0, k) for k in (0, 1, 5, 400)]
  assert ranks == [[2], [3], [4], [4]]
  assert [of('mean rank', 1, k) for k in (0, 1)] == [[1], [1]]
  assert [of('text R@1', picture, 1) for picture in (0, 1)] == [[0], [1]]


def test_attacks_are_distinct_and_in_an_order_of_their_own():
  written = [
    networks.Captioned(
      number, 0, 0.0, [np.array([i], np.int32) for i in own], np.array(own)
    )
    for number, own in ((0, [1.0, 2.0, 3.0]), (1, [3.0, 4.0]))
  ]
  found = attacks._by_picture(_opened(), written)
  assert sorted(found[0]) == [1, 2, 3, 4]
  again = attacks._by_picture(_opened(), written[::-1])
  np.testing.assert_array_equal(found[0], again[0])


def _subject(scores, written=()):
  return types.SimpleNamespace(
    opened=_opened(), scores=np.array(scores, np.float32), written=written
  )


def test_gaps_of_the_hardest_refill_and_the_hardest_caption():
  found = gaps.gaps(
    _subject(
      [[2, 0], [1, 0], [-1, 5], [0, 4]],
      [
        networks.Captioned(0, 0, 2.0, [np.array([1])] * 2, np.array([1, 3])),
        networks.Captioned(2, 1, 5.0, [], np.array([])),
      ],
    )
  )
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  tailored = found[gaps.gap_name(gaps.TAILORED)][items.ALL]
  assert tailored == [[pytest.approx(sigmoid(3) - sigmoid(2)), 0]]
  retrieved = found[gaps.gap_name(gaps.RETRIEVED)][items.ALL]
  # Of other pictures' captions: 0 for picture 0, and 0 for picture 1.
  assert retrieved == [
    [pytest.approx(sigmoid(0) - sigmoid(2)), 0],
    [pytest.approx(sigmoid(0) - sigmoid(5)), 1],
  ]
  assert found[f'above the caption, {gaps.TAILORED}'][items.ALL] == [[1, 0]]


def test_words_that_are_found_and_mended():
  read = types.SimpleNamespace(
    # [CLS], three words, [SEP].
    replaced_probs=np.array([[0.9, 0.8, 0.3, 0.05, 0.9]]),
    corrections=np.array([[0, 5, 1, 7, 0]]),
  )
  reader = types.SimpleNamespace(read=lambda pairs, with_words: read)
  sentence = words._Sentence(
    4, np.array([8, 6, 9]), np.array([True, False, True]), np.array([5, 6, 7])
  )
  found = items.join(words._read(reader, 0.1, 'kind', [sentence]))
  # Called replaced: the first and second; replaced: the first and third.
  assert {number: parts[items.ALL] for number, parts in found.items()} == {
    'precision of replaced, kind': [[1, 4], [0, 4]],
    'recall of replaced, kind': [[1, 4], [0, 4]],
    'precision of kept, kind': [[0, 4]],
    'recall of kept, kind': [[0, 4]],
    'corrected, kind': [[1, 4], [1, 4]],
  }


def test_words_of_a_retrieved_caption_are_wrong_if_no_own_caption_has_them():
  # Picture 0's best-matching other caption is number 2.
  first, second = words._retrieved(_subject([[9, 0], [9, 8], [3, 5], [2, 4]]))
  assert first.token_ids.tolist() == [8, 6]
  assert first.is_wrong.tolist() == [True, False] and first.originals is None
  assert (second.image, second.token_ids.tolist()) == (1, [5, 7])


def _judged():
  texts = ('a dog runs', 'a dog', 'dog a runs')
  return [
    dataset.Caption('', 0, np.zeros(1, np.int32), (), text) for text in texts
  ]


@pytest.fixture(name='judge_folder')
def _judge_folder(tmp_path):
  torch = pytest.importorskip('torch')
  tokenizers = pytest.importorskip('tokenizers')
  import transformers

  torch.manual_seed(0)
  names = ['[UNK]', '[END]', 'a', 'dog', 'runs']
  transformers.GPT2LMHeadModel(
    transformers.GPT2Config(
      vocab_size=len(names), n_positions=16, n_embd=8, n_layer=1, n_head=2
    )
  ).save_pretrained(tmp_path / 'judge')
  own = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(
      {name: i for i, name in enumerate(names)}, '[UNK]'
    )
  )
  own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  transformers.PreTrainedTokenizerFast(
    tokenizer_object=own, eos_token='[END]', unk_token='[UNK]'
  ).save_pretrained(tmp_path / 'judge')
  return tmp_path / 'judge'


def test_a_causal_model_judges_as_transformers_does(judge_folder):
  import torch
  import transformers

  model = transformers.AutoModelForCausalLM.from_pretrained(judge_folder).eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(judge_folder)
  found = list(judges.Causal(str(judge_folder)).losses(_judged()))
  assert [len(one) for one in found] == [2, 1, 2]
  for own, caption in zip(found, _judged(), strict=True):
    ids = torch.tensor(tokenizer([caption.text])['input_ids'])
    with torch.no_grad():
      expected = float(model(ids, labels=ids).loss)
    assert np.mean(own) == pytest.approx(expected, rel=1e-5)
  assert judges.about(str(judge_folder)) == 'judge (gpt2)'


def test_folders_that_are_no_judge(judge_folder, tmp_path):
  with pytest.raises(errors.UserError, match='config.json'):
    judges.about(str(tmp_path))
  (judge_folder / 'model.safetensors').write_bytes(b'no')
  with pytest.raises(errors.UserError, match='causal language model'):
    judges.Causal(str(judge_folder))
  (judge_folder / 'config.json').write_text('[]')
  with pytest.raises(errors.UserError, match='model_type'):
    judges.about(str(judge_folder))


def test_trigrams_judge_likelier_words_better():
  captions = _captions()
  train = types.SimpleNamespace(
    captions=captions, vocabulary=types.SimpleNamespace(size=10, cls=1, sep=2)
  )
  seen, unseen = judges.Trigrams(train).losses(
    [captions[0], dataset.Caption('', 0, np.array([6, 5], np.int32), (), '')]
  )
  assert len(seen) == len(unseen) == 3 and seen.mean() < unseen.mean()
