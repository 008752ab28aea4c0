"""The release's step: equal to the fast one without quirks, and each quirk."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import arrays, settings
from tagsdc_jax.released import objective, paired_batches
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys, mfu
from tests import tiny


def _config(phase, data_dir, **quirks):
  base = tiny.make_settings(phase, data_dir)
  return dataclasses.replace(
    base,
    model=dataclasses.replace(base.model, dropout_rate=0.0),
    batch=settings.Batch(positives=1, micro_batches=4),
    negatives=dataclasses.replace(base.negatives, num_hard=4),
    quirks=settings.Quirks(**quirks),
  )


def _with_own_captions(batch):
  """Puts three captions of the image into its pool of six, H being 4."""
  ids, lengths = (
    np.array(x)
    for x in (batch.pool_texts.token_ids, batch.pool_texts.num_tokens)
  )
  ids[:3] = batch.references[-1, [0, 2, 0]]
  lengths[:3] = np.sum(ids[:3] != 0, axis=1)
  return dataclasses.replace(batch, pool_texts=arrays.Texts(ids, lengths))


def _inputs(phase, data_dir, **quirks):
  """Returns task, objective, and its arguments for the first micro-batch."""
  config = _config(phase, data_dir, **quirks)
  task = tiny.make_task(config)
  _, state = tiny.make_state(task)
  source = tiny.make_source(config)
  # One in which the text drawn last is not the longest.
  lengths = (
    _with_own_captions(source[i]).pool_texts.num_tokens for i in range(20)
  )
  number = next(i for i, found in enumerate(lengths) if found[-1] < found.max())
  if config.quirks.other_caption:
    source = paired_batches.PairedMicroBatches(
      **{f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
    )
  batch = _with_own_captions(source[number])
  draws = keys.micro_batch_keys(0, jnp.int32(0), batch.number)
  return (
    task,
    setup.make_phase(task).objective,
    (state.params, None, batch, draws),
  )


def _value_and_grad(phase, data_dir, **quirks):
  """Returns loss, parts and gradient of the first micro-batch."""
  task, minimized, arguments = _inputs(phase, data_dir, **quirks)
  (loss, (parts, work)), grads = jax.jit(
    jax.value_and_grad(minimized, has_aux=True)
  )(*arguments)
  parts['gflop'] = mfu.gflop(task.model.config, work)
  return (
    float(loss),
    {k: float(v) for k, v in parts.items()},
    jax.tree.map(np.asarray, grads),
  )


@functools.cache
def _parts(data_dir, **quirks):
  """Returns the parts of stage 1's loss of the first micro-batch."""
  _, minimized, arguments = _inputs('tags', data_dir, plain_step=True, **quirks)
  _, (parts, _) = jax.jit(minimized)(*arguments)
  return {k: float(v) for k, v in parts.items()}


def test_without_quirks_both_steps_minimize_the_same(world_dir):
  loss, parts, grads = _value_and_grad('dc', world_dir)
  plain_loss, plain_parts, plain_grads = _value_and_grad(
    'dc', world_dir, plain_step=True
  )
  assert parts.keys() == plain_parts.keys()
  for name, value in parts.items():
    np.testing.assert_allclose(
      plain_parts[name], value, rtol=1e-5, atol=1e-6, err_msg=name
    )
  np.testing.assert_allclose(plain_loss, loss, rtol=1e-5)
  for ours, theirs in zip(
    jax.tree.leaves(grads), jax.tree.leaves(plain_grads), strict=True
  ):
    np.testing.assert_allclose(theirs, ours, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize(
  'quirk, moved',
  [
    ('first_word_positive', 'triplet_mask_refill'),
    ('last_text_offset', 'triplet_texts'),
    ('other_caption', 'triplet_texts'),
  ],
)
def test_a_quirk_moves_its_part_only(quirk, moved, world_dir):
  parts, changed = _parts(world_dir), _parts(world_dir, **{quirk: True})
  for name in ('triplet_images', 'triplet_texts', 'triplet_mask_refill', 'mlm'):
    before, after = parts[f'loss/{name}'], changed[f'loss/{name}']
    same = np.isclose(after, before, rtol=1e-5, atol=1e-7)
    assert same != (name == moved), (name, before, after)


def test_filling_up_makes_all_negatives_count(world_dir):
  config = _config('tags', world_dir)
  candidates = config.negatives.num_copies * config.negatives.num_samples
  assert config.negatives.num_hard < candidates
  parts = _parts(world_dir, fill_up=True)
  assert parts['mask_refill_filled'] == 1.0


@pytest.mark.parametrize('is_kept', [False, True])
def test_texts_equal_to_an_own_caption(is_kept, world_dir):
  task = tiny.make_task(
    _config('tags', world_dir, plain_step=True, equal_texts=is_kept)
  )
  batch = _with_own_captions(tiny.make_source(task.settings)[0])
  np.testing.assert_array_equal(
    objective.valid_texts(task.settings.quirks, batch),
    [is_kept] * 3 + [True] * 3,
  )
