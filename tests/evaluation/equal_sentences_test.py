"""Captions of several images that are one sentence: ties, and what is right."""

import dataclasses
import types

import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.evaluation import (
  coco_truths,
  equal_sentences,
  protocols,
  recall,
)

A, B, C, D = [3], [3, 4], [4, 3], [9]
# Captions 0 and 2 are one sentence, of images 0 and 1.
_OWNER = np.array([0, 0, 1, 1, 2])
_OF_IMAGE = [(0, 1), (2, 3), (4,)]
_TOKENS = [A, B, A, C, D]
# Whoever knows everything gives 1 where a sentence is true of an image.
_PERFECT = np.array(
  [[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], np.float32
)


def _data(tokens=None, owner=_OWNER, of_image=_OF_IMAGE):
  return types.SimpleNamespace(
    name='toy',
    image_ids=[f'i{n}' for n in range(len(of_image))],
    captions=[
      types.SimpleNamespace(
        caption_id=f'c{n}', image=int(image), token_ids=np.array(words)
      )
      for n, (image, words) in enumerate(
        zip(owner, tokens or _TOKENS, strict=True)
      )
    ],
    captions_of_image=of_image,
  )


def _rank(scores, quirks=settings.Quirks(), data=None, **chosen):
  return protocols.count(
    recall.Scores(np.asarray(scores, np.float32)),
    data or _data(),
    quirks,
    chosen,
  )


def test_which_are_equal():
  found = equal_sentences.find(_data([A, B, A, A, D]).captions)
  assert {k: v.tolist() for k, v in found.repeated.items()} == {0: [0, 2, 3]}
  assert found.twins([1, 2]).tolist() == [[2, 0], [2, 3]]
  assert found.twins([0, 2, 3]).shape == found.twins([]).shape == (0, 2)
  assert found.with_equal(np.array([4, 3])).tolist() == [0, 2, 3, 4]
  assert found.with_equal(np.array([], int)).tolist() == []
  assert [x.tolist() for x in found.repetitions()] == [[0, 0], [2, 3]]
  assert found.subset(np.array([3, 1, 0])).repeated[0].tolist() == [0, 2]
  # Not the words for people: the network sees tokens.
  other = equal_sentences.find(_data([A, [3, 0], [0, 3], A, [3, 3]]).captions)
  assert [v.tolist() for v in other.repeated.values()] == [[0, 3]]


def test_a_perfect_matcher_is_perfect():
  result = _rank(_PERFECT)
  # Of captions 0 and 2 one picture can be first only, and published numbers
  # know one picture for each.
  assert result['text_retrieval'] == {'r1': 100, 'r5': 100, 'r10': 100}
  assert result['image_retrieval'] == {'r1': 60, 'r5': 100, 'r10': 100}
  assert result['rsum'] == 560 and result['mean_r1'] == 80
  equal = result['equal_sentences']
  assert equal['rsum'] == 600 and equal['mean_r1'] == 100
  assert (
    equal.keys()
    == recall.with_means(
      result['image_retrieval'], result['text_retrieval']
    ).keys()
  )


def test_nothing_more_where_nothing_is_equal_or_it_makes_no_difference():
  assert 'equal_sentences' not in _rank(_PERFECT, data=_data([A, B, D, C, [8]]))
  # Twins of one image; and twins of which the other picture is never better.
  assert 'equal_sentences' not in _rank(_PERFECT, data=_data([A, A, B, C, D]))
  scores = np.eye(3)[[0, 0, 0, 1, 2]] + np.eye(3)[[0, 0, 1, 1, 2]]
  data = _data([A, B, C, A, D])
  scores[3] = scores[0]
  assert _rank(scores, data=data)['image_retrieval']['r1'] == 60
  assert (
    _rank(scores, data=data)['equal_sentences']['image_retrieval']['r1'] == 80
  )


def test_other_ties_are_lost_as_before():
  scores = _PERFECT.copy()
  scores[4, 0] = 1  # Another sentence.
  assert _rank(scores)['text_retrieval']['r1'] == pytest.approx(200 / 3)
  # A sentence that is equal to an own one, which is not the best.
  scores = np.array([[5, 9, 0], [7, 0, 0], [7, 9, 0], [0, 1, 0], [0, 0, 1]])
  assert _rank(scores)['text_retrieval']['r1'] == pytest.approx(200 / 3)
  # One that is not even scored alike, by whoever made such a matrix.
  scores = np.array([[5, 9, 0], [4, 0, 0], [6, 9, 0], [0, 1, 0], [0, 0, 1]])
  result = _rank(scores)
  assert result['text_retrieval']['r1'] == pytest.approx(200 / 3)
  assert result['equal_sentences']['text_retrieval']['r1'] == 100


def test_as_the_release_counts_ties_are_lost():
  quirks = settings.Quirks(float16_scores=True, overcounted_recall=True)
  result = _rank(_PERFECT, quirks)
  assert result['text_retrieval']['r1'] == pytest.approx(100 / 3)
  assert 'equal_sentences' not in result
  # Counting hits twice says nothing of ties.
  result = _rank(_PERFECT, settings.Quirks(overcounted_recall=True))
  assert result['text_retrieval']['r1'] == 100
  assert result['equal_sentences']['image_retrieval']['r1'] == 120


def test_in_folds():
  # Image 1 lies in the other fold: nothing is equal in the first one.
  data = _data([A, A, A, B], [0, 1, 2, 3], [(0,), (1,), (2,), (3,)])
  scores = np.array([[1, 1, 1, 0]] * 3 + [[0, 0, 0, 1]], np.float32)

  def fold(order):
    return protocols.mean_of_folds(
      recall.Scores(scores), data, protocols.Counting(), 2, np.array(order)
    )

  result = fold([0, 3, 1, 2])
  assert result['image_retrieval']['r1'] == 50
  assert result['text_retrieval']['r1'] == 100
  assert result['equal_sentences']['image_retrieval']['r1'] == 100
  assert result['folds'] == 2
  result = fold([2, 1, 3, 0])
  assert (
    result['rsum'] == pytest.approx(fold([0, 3, 1, 2])['rsum'])
    and 'equal_sentences' in result
  )


def test_after_a_first_pass_equal_sentences_stay_together():
  # The network has scored captions 0 and 2 with image 0 and nothing else.
  scores = np.full((5, 3), -np.inf, np.float32)
  scores[[0, 2], 0] = 7
  scores[[0, 2, 3], 1] = [4, 4, 2]
  scores[4] = 0
  first = recall.Scores(scores, _PERFECT.astype(np.float64))
  result = protocols.count(first, _data(), settings.Quirks())
  assert result['text_retrieval']['r1'] == 100
  first = recall.Scores(scores, np.zeros((5, 3)))
  assert (
    protocols.count(first, _data(), settings.Quirks())['text_retrieval']['r1']
    == 100
  )


# Image 1 has a caption that is one of image 0's; 800 is a sixth caption.
_COCO = {
  't2i': {700: [1], 701: [1], 702: [2], 703: [2], 704: [3]},
  'i2t': {1: [700, 701], 2: [702, 703], 3: [704]},
}


def _truths(tokens, extra=(), **more):
  captions = [(700, 0), (701, 0), (702, 1), (703, 1), (704, 2), *extra]
  data = types.SimpleNamespace(
    name='toy',
    image_ids=[f'coco_{i:012}.npz' for i in (1, 2, 3)],
    captions=[
      types.SimpleNamespace(caption_id=str(name), image=image, token_ids=words)
      for (name, image), words in zip(captions, tokens, strict=True)
    ],
  )
  return coco_truths.select(
    _COCO, {way: _COCO[way] | more.get(way, {}) for way in _COCO}, 'cxc', data
  )


def test_in_lists_of_truths():
  truths = _truths(_TOKENS)
  scores = recall.Scores(_PERFECT)
  result = coco_truths.recalls(scores, truths)
  assert result['text_retrieval']['r1'] == 100
  assert result['image_retrieval']['r1'] == 60
  assert result['equal_sentences']['image_retrieval']['r1'] == 100
  result = coco_truths.precisions(scores, truths)
  # Images: both own captions come before the equal one.
  assert result['text_retrieval'] == {
    'map_at_r': 100,
    'r_precision': 100,
    'r1': 100,
  }
  assert result['image_retrieval']['r1'] == 60
  assert result['equal_sentences']['image_retrieval'] == {
    'map_at_r': 100,
    'r_precision': 100,
    'r1': 100,
  }
  assert result['equal_sentences']['text_retrieval']['r_precision'] == 100
  rounded = dataclasses.replace(scores, is_rounded=True)
  result = coco_truths.recalls(rounded, truths)
  assert result['text_retrieval']['r1'] == pytest.approx(100 / 3)
  assert 'equal_sentences' not in result


def test_what_is_right_of_a_sentence_is_right_of_an_equal_one():
  # The lists say that image 3 is right for caption 702 as well.
  truths = _truths(_TOKENS, t2i={702: [2, 3]})
  assert [p.tolist() for p in truths.captions.positives] == [
    [0],
    [0],
    [1, 2],
    [1],
    [2],
  ]
  assert [p.tolist() for p in truths.equal.captions.positives] == [
    [0, 1, 2],
    [0],
    [0, 1, 2],
    [1],
    [2],
  ]
  assert truths.equal.captions.num_relevant.tolist() == [3, 1, 3, 1, 1]
  assert [p.tolist() for p in truths.equal.images.positives] == [
    [0, 1, 2],
    [0, 2, 3],
    [4],
  ]
  assert _truths([A, B, [1], C, D]).equal is None


def test_captions_that_no_list_knows_are_no_candidates():
  tokens = [A, B, [1], C, D, [2], B]
  extra = [(800, 0), (801, 2)]
  truths = _truths(tokens, extra)
  assert truths.unknown_captions.tolist() == [5, 6]
  scores = np.concatenate([_PERFECT, [[9, 0, 0], [1, 0, 9]]])
  scores[[0, 2]] = np.eye(3)[:2]
  for count in (coco_truths.recalls, coco_truths.precisions):
    result = count(recall.Scores(scores.astype(np.float32)), truths)
    assert result['text_retrieval']['r1'] == 100
    assert result['left_out'] == {'captions': 2, 'images': 0}
    assert result['notes'] == [
      '2 captions that the lists do not contain were left out'
    ]
  # Nor is an equal one right. But one that some list knows is a candidate.
  assert truths.equal.images.positives[0].tolist() == [0, 1]
  assert truths.equal.captions.positives[1].tolist() == [0]
  known = _truths(tokens, extra, i2t={2: [702, 703, 801]})
  assert known.unknown_captions.tolist() == [5]
  assert coco_truths.recalls(recall.Scores(scores.astype(np.float32)), known)[
    'text_retrieval'
  ]['r1'] == pytest.approx(200 / 3)
  plain = coco_truths.recalls(
    recall.Scores(_PERFECT), _truths([A, B, [1], C, D])
  )
  assert plain['left_out'] == {'captions': 0, 'images': 0}
  assert 'notes' not in plain
