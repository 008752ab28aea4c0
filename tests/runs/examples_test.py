"""Examples of an untrained stage-2 network, checked against the oracle."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import errors
from tagsdc_jax.data import assembling, dataset, opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import grammar, oracle
from tagsdc_jax.losses import words
from tagsdc_jax.models import retrieval
from tagsdc_jax.reporting.page import content
from tagsdc_jax.runs import example_negatives, examples, folder
from tagsdc_jax.training import checkpoints
from tests import tiny

PHASE = 'dc'


@pytest.fixture(name='task', scope='module')
def _task(world_dir):
  return tiny.make_task(tiny.make_settings(PHASE, world_dir))


@pytest.fixture(name='params', scope='module')
def _params(task):
  return tiny.make_state(task)[1].params


@pytest.fixture(name='found', scope='module')
def _found(task, params, tmp_path_factory):
  """Examples of a run folder whose checkpoint is the untrained network."""
  run_dir = tmp_path_factory.mktemp('examples') / 'run'
  folder.claim(run_dir, task.settings)
  saves = checkpoints.Checkpoints(run_dir)
  _, state = tiny.make_state(task)
  config = folder.read_config(run_dir)
  saves.save(
    'newest',
    dataclasses.replace(state, params=params),
    {'phase': PHASE, 'settings': config},
  )
  saves.wait()
  saves.close()
  return examples.gather(run_dir)


@pytest.fixture(name='test_split', scope='module')
def _test_split(world_dir):
  config = tiny.make_settings(PHASE, world_dir).data
  return (
    opening.open_split(config, 'test'),
    world.load_scenes('test', data_dir=world_dir, size='tiny'),
  )


def _image(data, picture):
  return list(data.image_ids).index(picture.name)


def _text(words_shown):
  return [word.text for word in words_shown]


def test_what_was_looked_at(found, test_split):
  data, _ = test_split
  assert (found.phase, found.update, found.data_name) == (
    PHASE,
    0,
    'world/test',
  )
  assert found.num_captions == found.all_captions == len(data.captions)
  assert len(found.pictures) == 6 and len(found.negatives) == 4
  assert found.has_oracle
  for item in [*found.pictures, *found.negatives]:
    image = _image(data, item.picture)
    assert item.picture.file.startswith(b'\x89PNG')
    np.testing.assert_allclose(
      item.picture.boxes, data.read_regions(image).boxes[:, :4]
    )


def test_right_captions_are_right(found, test_split):
  data, scenes = test_split
  for item in found.pictures:
    scene = scenes[_image(data, item.picture)]
    for caption in [*item.top, item.best_right]:
      # Every caption of the split is true of its own picture only.
      is_true = oracle.is_true(grammar.parse(caption.text.split()), scene)
      assert caption.is_right == is_true
    assert item.best_right.is_right
    assert [caption.rank for caption in item.top] == [1, 2, 3]
    probabilities = [caption.probability for caption in item.top]
    assert probabilities == sorted(probabilities, reverse=True)
    places = [caption.rank for caption in item.top if caption.is_right]
    assert item.best_right.rank == (
      places[0] if places else max(4, item.best_right.rank)
    )


def test_a_tie_with_an_equal_caption_is_not_lost(test_split):
  data, _ = test_split
  own = data.captions_of_image[1]
  data = dataclasses.replace(
    data,
    captions=[
      dataclasses.replace(data.captions[own[0]], image=0),
      *data.captions[1:],
    ],
  )
  scores = np.zeros(len(data.captions), np.float32)
  scores[[0, own[0]]], scores[own[1]] = 2, 1
  picture = content.Picture('p', None, ())
  shown = examples.rank_captions(data, 1, range(len(scores)), scores, picture)
  assert shown.best_right.rank == 1
  assert [caption.is_right for caption in shown.top] == [True, False, True]
  scores[2] = 2  # Another one.
  assert (
    examples.rank_captions(
      data, 1, range(len(scores)), scores, picture
    ).best_right.rank
    == 2
  )


def test_verdicts_are_the_oracles(found, test_split):
  data, scenes = test_split
  verdicts = set()
  for item in found.negatives:
    scene = scenes[_image(data, item.picture)]
    for negative in item.negatives:
      assert negative.verdict == oracle.judge(_text(negative.words), scene)
      verdicts.add(negative.verdict)
  assert len(verdicts) > 1


def test_negatives_are_negatives(found, test_split):
  data, _ = test_split
  for item in found.negatives:
    own = [
      data.captions[c].text.split()
      for c in data.captions_of_image[_image(data, item.picture)]
    ]
    assert _text(item.caption) in own
    texts = [_text(negative.words) for negative in item.negatives]
    assert 0 < len(texts) <= example_negatives.NUM_SHOWN
    assert len({tuple(text) for text in texts}) == len(texts)
    assert not [text for text in texts if text in own]
    probabilities = [negative.probability for negative in item.negatives]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(texts) <= item.num_valid <= item.num_generated == 12


def test_exactly_the_replaced_words_are_marked(found):
  for item in found.negatives:
    assert all(word.original is None for word in item.caption)
    for negative in item.negatives:
      assert len(negative.words) == len(item.caption)
      for word, before in zip(negative.words, item.caption, strict=True):
        is_replaced = word.text != before.text
        assert word.original == (before.text if is_replaced else None)
        assert (word.correction is not None) == is_replaced
        assert 0 < word.replaced_prob < 1


def test_scores_and_words_are_the_networks(found, test_split, task, params):
  """One sentence and its caption again, alone and without padding."""
  data, _ = test_split
  item = found.negatives[0]
  negative = item.negatives[-1]
  image = _image(data, item.picture)
  vocabulary = data.vocabulary
  token_ids = np.array(
    [
      [vocabulary.cls, *grammar.to_ids(_text(shown)), vocabulary.sep]
      for shown in (item.caption, negative.words)
    ]
  )
  read = assembling.images(data, [image] * 2, int(data.num_regions[image]))

  @jax.jit
  def run(params):
    states = jnp.concatenate(
      [
        retrieval.apply(task.model, params, 'embed_text', token_ids),
        retrieval.apply(
          task.model, params, 'embed_image', read.features, read.boxes
        ),
      ],
      axis=1,
    )
    states = retrieval.apply(
      task.model,
      params,
      'encode',
      states,
      jnp.ones(states.shape[:2], bool),
      num_outputs=token_ids.shape[1],
    )
    return [
      retrieval.apply(task.model, params, name, states)
      for name in ('match_logits', 'disc_logits', 'correction_logits')
    ]

  match, disc, correction = run(params)
  np.testing.assert_allclose(
    jax.nn.sigmoid(match), [item.probability, negative.probability], rtol=1e-4
  )
  # What the loss of a replaced word is minus the logarithm of.
  losses = words.discrimination_loss(
    disc[1, 1:-1],
    jnp.zeros(len(negative.words), bool),
    replaced_weight=1.0,
    kept_weight=0.0,
  )
  # The odds are 0.11 times those, as unchanged words count in training.
  odds = 0.11 / np.expm1(losses)
  np.testing.assert_allclose(
    odds / (1 + odds),
    [word.replaced_prob for word in negative.words],
    rtol=1e-4,
  )
  best = grammar.to_words(np.argmax(correction[1, 1:-1], axis=-1))
  assert [word.correction for word in negative.words] == [
    text if word.original else None
    for word, text in zip(negative.words, best, strict=True)
  ]


def _small(captions_of_image):
  """A data set of captions without anything else."""
  owners = {c: i for i, own in enumerate(captions_of_image) for c in own}
  return dataset.RetrievalDataset(
    'toy',
    grammar.VOCABULARY,
    [
      dataset.Caption(f'c{c}', owners[c], np.array([c]), (), f'text {c}')
      for c in sorted(owners)
    ],
    [f'i{i}' for i in range(len(captions_of_image))],
    captions_of_image,
    lambda i: None,
    np.ones(len(captions_of_image), np.int32),
    3,
    np.dtype(np.float32),
  )


def test_ties_count_against_the_model():
  data = _small([(0, 1), (2, 3)])
  picture = content.Picture('i1', None, ())
  scores = np.array([0.5, 0.2, 0.5, -1.0], np.float32)
  item = examples.rank_captions(data, 1, [0, 1, 2, 3], scores, picture)
  assert [c.text for c in item.top] == ['text 0', 'text 2', 'text 1']
  assert [c.is_right for c in item.top] == [False, True, False]
  assert item.best_right.text == 'text 2' and item.best_right.rank == 2
  assert item.best_right.probability == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_images_are_spread_and_have_captions():
  data = _small([(i,) if i % 2 else () for i in range(60)])
  chosen = examples.choose_images(data, 6, 0)
  assert chosen == examples.choose_images(data, 6, 0)
  assert chosen != examples.choose_images(data, 6, 1)
  assert all(data.captions_of_image[i] for i in chosen)
  assert [i // 10 for i in chosen] == [0, 1, 2, 3, 4, 5]
  assert examples.choose_images(_small([(0,), ()]), 6, 0) == [0]


def test_of_many_captions_a_part_is_scored():
  data = _small([(2 * i, 2 * i + 1) for i in range(50)])
  assert examples.choose_captions(data, [3], 100) == list(range(100))
  part = examples.choose_captions(data, [3, 40], 30)
  assert len(part) == len(set(part)) == 30 and part == sorted(part)
  assert {6, 7, 80, 81} <= set(part)
  assert part == examples.choose_captions(data, [3, 40], 30)


def test_tokens_without_words_and_word_pieces():
  known = dataclasses.replace(grammar.VOCABULARY, words=('[PAD]', 'a', '##s'))
  shown = example_negatives.to_words(
    np.array([1, 2, 9]), np.array([1, 1, 8]), known
  )
  assert [word.text for word in shown] == ['a', 's', '[9]']
  assert [word.is_piece for word in shown] == [False, True, False]
  assert [word.original for word in shown] == [None, 'a', '[8]']
  assert shown[0].replaced_prob is shown[1].correction is None


def test_a_folder_without_checkpoint_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match='must be a run folder'):
    examples.gather(tmp_path)
