"""Word discrimination and correction in synthetic_stage2.npz."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tagsdc_jax.comparison import items, replaying
from tagsdc_jax.comparison.recordings import Arrays
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.losses import pair_losses
from tagsdc_jax.negatives import source
from tagsdc_jax.released import objective, pair_rows

_GRADIENT = 5e-6
# Heads that the clamp case scales: (head, part or None, index of its factor).
_CLAMPED = (('correction_output', 'norm', 0), ('disc_output', None, 1))


@struct.dataclass
class WordOutcome:
  """The results of stage 2's word heads for the selected sentences."""

  is_token: jax.Array  # bool [H, L]
  is_same: jax.Array  # bool [H, L]
  is_target: jax.Array  # bool [H, L]
  disc_probs: jax.Array  # float32 [H, L, 2]
  disc_losses: jax.Array  # float32 [H, L]
  correction_losses: jax.Array  # float32 [H, L]
  corrected: jax.Array  # int32 [H, L], the correction head's best words
  means: dict[str, jax.Array]  # float32 [1] each


def compare(
  file: str,
  case: str,
  recorded: Arrays,
  engine: Engine,
  params: Any,
  example: replaying.Example,
  outcome: Any,
) -> Iterator[items.Item]:
  """Yields items for a case, and for its version with scaled heads if any.

  Args:
    file: of the recordings.
    case: name of the case whose sentences are used.
    recorded: the file's arrays.
    engine: runs the network.
    params: parameters.
    example: the case.
    outcome: `synthetic.Outcome`: the sentences and the selection.
  """
  selected = np.asarray(outcome.ranked.indices)
  indices = jnp.asarray(
    selected[
      replaying.in_order_of(1 + selected, recorded[f'{case}/selected_indices'])
    ]
  )
  run = functools.partial(_run, engine)
  arguments = (
    example,
    outcome.completed.sentences,
    outcome.rows,
    dataclasses.replace(outcome.ranked, indices=indices),
  )
  (_, found), _ = run(params, *arguments)
  yield from _compare_case(file, case, recorded, example, found)
  factors_key = 'clamp/factors'
  if case != 'main' or factors_key not in recorded:
    return
  scaled = _scale(params, recorded[factors_key])
  (_, found), gradient = run(scaled, *arguments)
  length = recorded[f'{case}/disc_labels'].shape[1]
  for key, values, where in (
    ('correction_loss', found.correction_losses, found.is_target),
    ('disc_loss', found.disc_losses, found.is_token),
  ):
    yield items.close(
      file,
      f'clamp/{key}',
      np.asarray(values)[:, :length][np.asarray(where)[:, :length]],
      recorded[f'clamp/{key}'],
      # Scaling the logits scales their errors.
      atol=replaying.LOSS,
      rtol=1e-5,
    )
  for key, ours in (
    ('grad_correction_bias', gradient['correction_output']['bias']),
    ('grad_disc_weight', gradient['disc_output']['kernel'].T),
  ):
    yield items.close(
      file,
      f'clamp/{key}',
      ours,
      recorded[f'clamp/{key}'],
      atol=_GRADIENT,
      rtol=1e-4,
    )


def _scale(params: Any, factors: np.ndarray) -> Any:
  scaled = dict(params)
  for head, inner, number in _CLAMPED:
    times = lambda x, f=factors[number]: np.float32(x * f)
    if inner is None:
      scaled[head] = jax.tree.map(times, params[head])
    else:
      scaled[head] = params[head] | {
        inner: jax.tree.map(times, params[head][inner])
      }
  return scaled


@functools.partial(jax.jit, static_argnums=0)
def _run(
  engine: Engine,
  params: Any,
  example: replaying.Example,
  sentences: source.Sentences,
  rows: pair_rows.Rows,
  ranked: pair_rows.Ranked,
) -> Any:
  """Returns ((loss, WordOutcome), gradient)."""
  ranked = dataclasses.replace(
    ranked, is_filled=jnp.ones_like(ranked.is_filled)
  )
  of = objective.words_of(example.batch, sentences, ranked)

  def loss(params: Any) -> tuple[jax.Array, WordOutcome]:
    states = pair_rows.encode(
      engine,
      params,
      pair_rows.take(rows, 1 + ranked.indices),
      num_outputs=of.token_ids.shape[-1],
    )
    total, means, values = jnp.float32(0), {}, {}
    for one in objective.word_losses_of(engine.task.settings):
      mean, found = objective.word_loss(
        engine, params, one, states[None], of, ranked.is_filled[None]
      )
      total += mean[0]
      values[one.name] = found[0]
      means[one.name] = pair_losses.mean_per_positive(
        one, found, ranked.is_filled[None], of
      )
    own = jax.tree.map(lambda x: x[0], of)
    return total, WordOutcome(
      own.is_token,
      own.token_ids == own.originals,
      own.is_target,
      jax.nn.softmax(engine.read(params, 'disc_logits', states)),
      values['discrimination'],
      values['correction'],
      jnp.argmax(engine.read(params, 'correction_logits', states), -1),
      means,
    )

  return jax.value_and_grad(loss, has_aux=True)(params)


def _compare_case(
  file: str,
  case: str,
  recorded: Arrays,
  example: replaying.Example,
  found: WordOutcome,
) -> Iterator[items.Item]:
  length = recorded[f'{case}/disc_labels'].shape[1]
  found = jax.tree.map(np.asarray, found)
  cut = lambda x: x[:, :length]
  same, probs = cut(found.is_same), cut(found.disc_probs)
  is_target, corrected = cut(found.is_target), cut(found.corrected)
  caption = np.asarray(example.batch.texts.token_ids)[0, :length]
  is_right = (np.argmax(probs, -1) == 1) == same
  fixed = corrected == caption

  for key, ours in (
    ('syn_txt_labels', np.where(is_target, caption, -1)),
    ('disc_labels', same),
    ('disc_samples', same.size),
    ('disc_corrects', is_right.sum()),
    ('disc_pos_corrects', (is_right & same).sum()),
    ('disc_pos_samples', same.sum()),
    ('disc_neg_corrects', (is_right & ~same).sum()),
    ('disc_neg_samples', (~same).sum()),
    ('correction_corrects', fixed[is_target]),
    ('correction_texts', corrected),
    ('all_correction_corrects', fixed[:, 1:-1]),
  ):
    name = f'{case}/{key}'
    yield items.equal(file, name, ours, recorded[name])
  for key, values, atol in (
    ('disc_p', probs, replaying.SCORE),
    ('disc_loss', cut(found.disc_losses).reshape(-1), replaying.LOSS),
    ('disc_loss_mean', found.means['discrimination'][0], replaying.LOSS),
    (
      'correction_loss',
      cut(found.correction_losses)[is_target],
      replaying.LOSS,
    ),
    ('correction_loss_mean', found.means['correction'][0], replaying.LOSS),
  ):
    name = f'{case}/{key}'
    yield items.close(file, name, values, recorded[name], atol=atol)
