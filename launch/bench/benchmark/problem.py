"""The data and weights used by both programs."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmark.sizes import SIZES, Lengths, Size
from tagsdc_jax import arrays, errors, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.models import retrieval

_SEED = 0
_CAPTIONS_PER_IMAGE = 5
_FRESH_TEMPERATURE = 0.12
_WORDS_FROM = 104  # Behind BERT's special tokens; less in a small vocabulary.


@dataclasses.dataclass(frozen=True)
class Problem:
  """Attributes: see the module; `params` are numpy arrays."""

  size: Size
  config: settings.Settings
  train: dataset.RetrievalDataset
  test: dataset.RetrievalDataset
  params: Any
  source: str  # What data and weights are, for the result file.

  @functools.cached_property
  def shapes(self) -> assembling.Shapes:
    """Returns the static sizes of micro-batches."""
    return assembling.shapes_of(self.train)

  def micro_batch(self, number: int) -> arrays.MicroBatch:
    """Returns B positives and their pool, drawn separately for each number."""
    rng = np.random.default_rng([_SEED, number])
    count, pool = self.config.batch.positives, self.config.negatives.pool_size
    data = self.train
    numbers = rng.choice(len(data.captions), count, replace=False)
    own_images = [data.captions[i].image for i in numbers]
    others = np.setdiff1d(np.arange(len(data.image_ids)), own_images)
    pool_images = rng.choice(others, pool, replace=False)
    pool_texts = np.array(
      [
        rng.choice(data.captions_of_image[i])
        for i in rng.choice(others, pool, replace=False)
      ]
    )
    return assembling.micro_batch(
      data,
      self.shapes,
      self.config.seed,
      number,
      numbers,
      pool_texts,
      pool_images,
    )


def make(
  name: str,
  root: Path | None,
  weights: Path | None,
  temperature: float | None,
  changes: list[str],
) -> Problem:
  """Returns the problem specified on the command line.

  Args:
    name: of SIZES.
    root: see `from_files`; None for made-up data.
    weights: see `from_files`.
    temperature: for refilling; None means the size's value, or a low one with
      synthetic data: an untrained MLM head is nearly uniform over words, but
      must produce duplicates like a trained one.
    changes: NAME=VALUE for settings of `compute`.
  Raises:
    UserError: if a setting is unknown or its value is invalid.
  """
  size = SIZES[name]
  config = size.config
  for change in changes:
    key, _, value = change.partition('=')
    if f'compute.{key}' not in settings.ALL:
      raise errors.UserError(
        f'--set {change}: compute.{key} is not a setting; available: '
        + ', '.join(f.name for f in dataclasses.fields(config.compute))
      )
    try:
      config = settings.from_flat(
        settings.flatten(config)
        | {f'compute.{key}': settings.parse_value(f'compute.{key}', value)}
      )
    except ValueError as error:
      raise errors.UserError(f'--set {change}: {error}') from error
  if temperature is None and root is None:
    temperature = _FRESH_TEMPERATURE
  if temperature is not None:
    config = dataclasses.replace(
      config,
      negatives=dataclasses.replace(config.negatives, temperature=temperature),
    )
  size = dataclasses.replace(size, config=config)
  if root is not None:
    return from_files(size, root, weights)
  return made_up(size)


def made_up(size: Size) -> Problem:
  """Returns a problem with the size's lengths, and untrained weights."""
  config = size.config
  pool = config.negatives.pool_size + config.batch.positives
  train = _made_up_data('train', config, size.lengths, pool + 40)
  test = _one_caption_each(
    _made_up_data('test', config, size.lengths, size.eval_images)
  )
  params = retrieval.init_parameters(
    retrieval.RetrievalModel(config.model), jax.random.key(_SEED)
  )
  return Problem(
    size, config, train, test, jax.tree.map(np.asarray, params), 'made up'
  )


def from_files(size: Size, root: Path, weights: Path | None) -> Problem:
  """Returns a problem with a user's data, in UNITER's format, and weights.

  Args:
    size: its vocabulary, feature size and network are not used.
    root: folder with txt_db/*train.db, txt_db/*test.db and one img_db/*.
    weights: run folder or checkpoint; None for fresh ones.
  """
  # Imported here, since synthetic data does not need their dependencies.
  from tagsdc_jax.data import opening
  from tagsdc_jax.runs import setup
  from tagsdc_jax.training import checkpoints

  images, train_text, test_text = (
    _only(root, pattern)
    for pattern in ('img_db/*', 'txt_db/*train.db', 'txt_db/*test.db')
  )
  data_settings = settings.Data(
    source='uniter_lmdb',
    root=str(root),
    train_text=(train_text,),
    train_images=(images,),
    test_text=test_text,
    test_images=images,
  )
  train = opening.open_split(data_settings, 'train')
  test = _one_caption_each(
    opening.first_images(
      opening.open_split(data_settings, 'test'), size.eval_images
    )
  )
  config = dataclasses.replace(size.config, data=data_settings)
  if weights is None:
    config = setup.with_data_sizes(
      dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, vocab_size=0, feature_size=0),
      ),
      train,
    )
    params = retrieval.init_parameters(
      setup.make_model(config), jax.random.key(_SEED)
    )
  else:
    loaded = checkpoints.load(weights)
    params = loaded.parameters
    config = dataclasses.replace(
      config, model=checkpoints.settings_of(loaded).model
    )
  return Problem(
    size,
    config,
    train,
    test,
    jax.tree.map(np.asarray, params),
    f'{root.name}, weights {weights or "fresh"}',
  )


def _only(root: Path, pattern: str) -> str:
  """Returns the one path in a folder that fits, relative to it."""
  found = sorted(root.glob(pattern))
  if len(found) != 1:
    raise errors.UserError(
      f'--data {root} must contain one {pattern}, got {len(found)}; see --help'
    )
  return str(found[0].relative_to(root))


def _one_caption_each(
  data: dataset.RetrievalDataset,
) -> dataset.RetrievalDataset:
  return dataclasses.replace(
    data,
    captions=[data.captions[own[0]] for own in data.captions_of_image],
    captions_of_image=[(i,) for i in range(len(data.image_ids))],
  )


def _made_up_data(
  split: str, config: settings.Settings, lengths: Lengths, num_images: int
) -> dataset.RetrievalDataset:
  rng = np.random.default_rng([_SEED, len(split)])
  model = config.model
  low = min(_WORDS_FROM, model.vocab_size // 2)

  def draw(quantiles: tuple[int, ...], count: int) -> np.ndarray:
    places = rng.uniform(0, len(quantiles) - 1, count)
    return np.rint(
      np.interp(places, np.arange(len(quantiles)), quantiles)
    ).astype(np.int32)

  num_regions = draw(lengths.regions, num_images)
  num_tokens = draw(lengths.tokens, num_images * _CAPTIONS_PER_IMAGE)
  captions = []
  for number, count in enumerate(num_tokens):
    ids = rng.integers(low, model.vocab_size, count).astype(np.int32)
    # As in scene graphs: some words are in no phrase, some in several.
    phrases = tuple(
      (i, i + 1) if i % 3 == 0 else (i,) for i in range(0, int(count) - 1, 2)
    )
    captions.append(
      dataset.Caption(
        str(number), number // _CAPTIONS_PER_IMAGE, ids, phrases, ''
      )
    )

  def read_regions(image: int) -> dataset.Regions:
    own = np.random.default_rng([_SEED, len(split), image])
    count = num_regions[image]
    features = own.standard_normal((count, model.feature_size), np.float32)
    return dataset.Regions(
      features.astype(np.float16),
      own.uniform(size=(count, 7)).astype(np.float32),
    )

  return dataset.RetrievalDataset(
    name=f'made up/{split}',
    vocabulary=dataset.Vocabulary(
      model.vocab_size, 0, 1, 2, 3, 4, (low, model.vocab_size)
    ),
    captions=captions,
    image_ids=[str(i) for i in range(num_images)],
    captions_of_image=[
      tuple(range(i * _CAPTIONS_PER_IMAGE, (i + 1) * _CAPTIONS_PER_IMAGE))
      for i in range(num_images)
    ],
    read_regions=read_regions,
    num_regions=num_regions,
    feature_size=model.feature_size,
    feature_dtype=np.dtype(np.float16),
  )
