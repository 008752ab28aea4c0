"""synthetic_stage1.npz and synthetic_stage2.npz: refilled sentences."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tagsdc_jax import arrays, settings
from tagsdc_jax.comparison import items, replaying, word_losses
from tagsdc_jax.comparison.recordings import Arrays, Recordings
from tagsdc_jax.engines.engine import Engine
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import filters
from tagsdc_jax.released import objective, pair_rows, selection

FILES = {'tags': 'synthetic_stage1.npz', 'dc': 'synthetic_stage2.npz'}
WEIGHTS = {
  'tags': 'checkpoint_stage1.safetensors',
  'dc': 'checkpoint_stage2.safetensors',
}


@struct.dataclass
class Outcome:
  """The results of training for one positive's sentences."""

  completed: replaying.Completed
  ranked: pair_rows.Ranked
  rows: pair_rows.Rows
  masked_rows: pair_rows.Rows
  best_words: jax.Array  # int32 [K, L], the MLM head's best words
  penalties: jax.Array  # float32 [2, 1 + G]: for the caption, for repetitions


def compare_stage1(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for every case of stage 1."""
  return _compare(recordings, 'tags')


def compare_stage2(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for every case of stage 2, including word losses."""
  return _compare(recordings, 'dc')


def _compare(recordings: Recordings, phase: str) -> Iterator[items.Item]:
  file = FILES[phase]
  recorded = recordings.arrays(file)
  params = recordings.parameters(WEIGHTS[phase])
  cases = [
    case for case in recorded.groups() if f'{case}/fill_input_ids' in recorded
  ]
  # One shape for all cases, so that one program suffices.
  length, regions = (
    max(recorded.peek(f'{case}/{key}').shape[axis] for case in cases)
    for key, axis in (('input_ids', 1), ('img_feat', 0))
  )
  for case in cases:
    scale = (
      float(recorded[f'{case}/rank_output_scale'])
      if f'{case}/rank_output_scale' in recorded
      else 1.0
    )
    scaled = params | {
      'rank_output': jax.tree.map(
        lambda x, s=scale: np.float32(x * s), params['rank_output']
      )
    }
    # Recorded but not compared: it makes the release's stage 2 crash
    # (docs/quirks.md, 2).
    recorded[f'{case}/input_dict']
    for variant in replaying.CORRECTED:
      engine = _engine(recordings, phase, variant)
      example = example_of(recorded, f'{case}/', engine, length, regions)
      outcome = _run(engine, scaled, example)
      scores = max(replaying.SCORE, 1.25e-5 * scale)
      checks = _Checks(file, case, recorded, engine, outcome, scores)
      if variant == 'fixed':
        # These are the same in both variants.
        yield from checks.masked(example)
        yield from checks.chosen()
        if phase == 'dc':
          yield from word_losses.compare(
            file, case, recorded, engine, scaled, example, outcome
          )
      yield from checks.ranked(variant)


def _engine(recordings: Recordings, phase: str, variant: str) -> Engine:
  note = functools.partial(recordings.note, FILES[phase])
  weights = note('disc_weights') if phase == 'dc' else (1.0, 0.11)
  return replaying.engine_of(
    recordings,
    phase,
    variant,
    negatives=settings.Negatives(
      num_hard=note('hard_size'),
      num_copies=note('mlm_sample_size'),
      num_samples=note('nsgd_sample_size'),
      temperature=note('temperature'),
      exclude='caption',
    ),
    losses=settings.Losses(
      margin=note('margin'), replaced_weight=weights[0], kept_weight=weights[1]
    ),
  )


def example_of(
  recorded: Arrays, prefix: str, engine: Engine, length: int, regions: int
) -> replaying.Example:
  """Returns a case as a micro-batch with its recorded choices."""
  features, boxes = (
    recorded[prefix + key] for key in ('img_feat', 'img_pos_feat')
  )
  images = replaying.images_of(
    features[None], boxes[None], [len(features)], regions
  )
  return replaying.example_of(
    recorded,
    prefix,
    engine.task.settings.negatives.num_samples,
    images=images,
    length=length,
  )


@functools.partial(jax.jit, static_argnums=0)
def _run(engine: Engine, params: Any, example: replaying.Example) -> Outcome:
  key = jax.random.key(0)  # Unused: there is no dropout.
  batch, masked = example.batch, example.masked
  completed = replaying.complete(engine, params, example, key)
  ranked, rows = objective.rank_sentences(
    engine, params, batch, completed.sentences, key
  )
  texts = arrays.Texts(
    masked.token_ids[0],
    jnp.broadcast_to(batch.texts.num_tokens, masked.token_ids.shape[1:2]),
  )
  masked_rows = pair_rows.pair_rows(texts, batch.images)
  states = pair_rows.encode(
    engine, params, masked_rows, num_outputs=masked.token_ids.shape[-1]
  )
  logits = retrieval.apply(engine.task.model, params, 'mlm_logits', states)
  sentences = rows.texts.token_ids[None]
  is_caption, is_repeated = (
    filters.is_reference(sentences, batch.texts.token_ids[:, None]),
    selection.is_repeated(
      sentences, last_copy=engine.task.settings.quirks.last_copy
    ),
  )
  no = jnp.zeros_like(is_caption)
  return Outcome(
    completed,
    ranked,
    rows,
    masked_rows,
    jnp.argmax(logits, -1),
    jnp.concatenate(
      [
        selection.penalties(is_caption, no),
        selection.penalties(no, is_repeated),
      ]
    ),
  )


class _Checks:
  """Yields the items of one case."""

  def __init__(
    self,
    file: str,
    case: str,
    recorded: Arrays,
    engine: Engine,
    outcome: Outcome,
    scores: float,
  ) -> None:
    self._file, self._case, self._recorded = file, case, recorded
    self._config, self._outcome = engine.task.settings, outcome
    self._scores = scores  # Tolerance of raw scores.
    ranked = outcome.ranked
    selected = 1 + np.asarray(ranked.indices)
    self._order = replaying.in_order_of(
      selected, recorded[f'{case}/selected_indices']
    )
    self._selected = selected[self._order]
    self._logits = np.asarray(ranked.match_logits)
    self._probs = np.asarray(jax.nn.sigmoid(ranked.match_logits))
    self._penalized = (
      self._logits if engine.task.settings.phase == 'tags' else self._probs
    ) - np.asarray(outcome.penalties).sum(axis=0)

  def masked(self, example: replaying.Example) -> Iterator[items.Item]:
    """Yields items for the masked captions and their refills."""
    recorded, outcome = self._recorded, self._outcome
    labels = recorded[f'{self._case}/mlm_txt_labels']
    is_target, width = labels != -1, labels.shape[1]
    yield self._equal(
      'mlm_position_ids', np.broadcast_to(np.arange(width), labels.shape)
    )
    yield from replaying.same_layout(
      self._file,
      outcome.masked_rows,
      recorded,
      masks=f'{self._case}/mlm_attn_masks',
      index=f'{self._case}/mlm_gather_index',
    )
    yield self._equal(
      'fill_input_ids',
      np.asarray(outcome.completed.sentences.token_ids)[0][:, :width],
    )
    caption = np.asarray(example.batch.texts.token_ids)[0, :width]
    yield self._equal(
      'mlm_txt_labels',
      np.where(
        np.asarray(outcome.completed.is_target)[0, :, :width], caption, -1
      ),
    )
    losses = np.asarray(outcome.completed.mlm_losses)[0, :, :width]
    yield self._close('masked_lm_loss', losses[is_target], replaying.LOSS)
    yield self._close(
      'masked_lm_loss_mean', outcome.completed.mlm, replaying.LOSS
    )
    best = np.asarray(outcome.best_words)[:, :width]
    yield self._equal('mlm_corrects', (best == labels)[is_target])

  def chosen(self) -> Iterator[items.Item]:
    """Yields items for the selection and its penalties."""
    caption, repeated = np.asarray(self._outcome.penalties)
    theirs = self._recorded[f'{self._case}/penalized_scores']
    yield self._equal('c1_penalty', caption)
    yield self._equal('c2_penalty', repeated)
    yield self._equal('effect_num', np.sum(caption + repeated == 0))
    # The first score is the positive's, which depends on the variant.
    yield items.close(
      self._file,
      f'{self._case}/penalized_scores',
      self._penalized[1:],
      theirs[1:],
      atol=self._scores,
      note='candidates',
    )
    name = f'{self._case}/selected_indices'
    theirs = self._recorded[name]
    if set(theirs) != set(self._selected):
      yield items.as_sets(self._file, name, self._selected, theirs)
    else:  # The order among rows of equal score is arbitrary.
      yield items.close(
        self._file,
        name,
        np.sort(self._penalized[self._selected])[::-1],
        self._penalized[theirs],
        atol=self._scores,
        note='same rows; order compared by their scores',
      )
    yield self._equal('selected_indices_sorted', np.sort(self._selected))
    ids = np.asarray(self._outcome.rows.texts.token_ids)[self._selected]
    width = self._recorded[f'{self._case}/selected_input_ids'].shape[1]
    yield self._equal('selected_input_ids', ids[:, :width])
    yield self._close(
      'boundary_gap',
      replaying.gap(self._penalized[1:], len(self._selected)),
      2 * self._scores,
    )

  def ranked(self, variant: str) -> Iterator[items.Item]:
    """Yields items for everything that depends on the positive's score."""
    ranked, recorded = self._outcome.ranked, self._recorded
    prefix = f'{self._case}/{variant}/'
    close = functools.partial(self._close, variant=variant)
    yield items.equal(
      self._file,
      f'{prefix}positive_gather_index',
      replaying.gather_index(self._outcome.rows)[0],
      recorded[f'{prefix}positive_gather_index'],
      variant=variant,
    )
    yield close(f'{variant}/raw_scores', self._logits[:, None], self._scores)
    yield close(
      f'{variant}/sigmoid_scores', self._probs[:, None], replaying.SCORE
    )
    losses = np.asarray(ranked.losses)[self._order]
    probs = np.asarray(ranked.probs)[[0, *(1 + self._order)]]
    yield close(f'{variant}/rank_loss', losses[None], replaying.LOSS)
    yield close(f'{variant}/rank_loss_mean', losses.mean(), replaying.LOSS)
    yield items.equal(
      self._file,
      f'{prefix}rank_corrects',
      (probs[1:] <= probs[0])[None],
      recorded[f'{prefix}rank_corrects'],
      variant=variant,
    )
    yield close(
      f'{variant}/hinge_min_abs',
      replaying.hinge_gap(probs, self._config.losses.margin),
      2 * replaying.SCORE,
    )
    if self._config.phase == 'dc':
      yield close(
        f'{variant}/rank_adv_scores',
        np.concatenate([self._probs[:1], self._penalized[self._selected]]),
        replaying.SCORE,
      )

  def _close(
    self, key: str, ours: Any, atol: float, variant: str = ''
  ) -> items.Item:
    name = f'{self._case}/{key}'
    return items.close(
      self._file, name, ours, self._recorded[name], atol=atol, variant=variant
    )

  def _equal(self, key: str, ours: Any) -> items.Item:
    name = f'{self._case}/{key}'
    return items.equal(self._file, name, ours, self._recorded[name])
