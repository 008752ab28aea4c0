"""The shipped weights are what their recipe says, and the recipe repeats."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tagsdc_jax import errors, settings, shipped
from tagsdc_jax.commands import configs
from tagsdc_jax.data import dataset
from tagsdc_jax.data.world import builder, captions, foils, grammar, pictures
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world.scenes import example_rng
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import folder, setup, training
from tagsdc_jax.runtime import hashing
from tagsdc_jax.training import checkpoints

_NAME, _START = 'world_pretrain', 'world_relations'
_NUM_FIRST = 2


@pytest.fixture(scope='module')
def path() -> Path:
  return shipped.find(shipped.PREFIX + _NAME)


def _metrics(path: Path) -> dict[int, dict]:
  lines = path.read_text(encoding='utf-8').splitlines()
  return {
    line['update']: line
    for line in map(json.loads, lines)
    if line['kind'] == 'train'
  }


def _that_matter(config: settings.Settings) -> dict[str, object]:
  return {
    name: value
    for name, value in settings.flatten(config).items()
    if name not in settings.FREE_TO_CHANGE
  }


def test_names():
  assert _NAME in shipped.names()
  assert shipped.find('runs/tags') == Path('runs/tags')
  for wrong in ('shipped:nothing', 'shipped:', 'shipped:../shipped'):
    with pytest.raises(errors.UserError, match=f'available: shipped:{_NAME}'):
      shipped.find(wrong)


def test_weights_are_small_and_those_of_the_recipe(path):
  assert sum(f.stat().st_size for f in path.rglob('*')) < 4e6
  loaded = checkpoints.load(path)
  recipe = shipped.recipe(_NAME)
  assert (
    hashing.parameters_sha256(loaded.parameters) == recipe['parameters_sha256']
  )
  assert loaded.about['phase'] == 'pretrain'
  # The config of that name still describes them.
  made_with = settings.from_flat(loaded.about['settings'])
  config = configs.load(_NAME, ())
  assert recipe['updates'] == loaded.about['update'] == config.num_updates
  sizes = {
    name: getattr(made_with.model, name)
    for name in ('vocab_size', 'feature_size')
  }
  assert _that_matter(made_with) == _that_matter(
    dataclasses.replace(
      config, model=dataclasses.replace(config.model, **sizes)
    )
  )
  checkpoints.check_parameters(
    loaded.parameters,
    retrieval.parameter_shapes(setup.make_model(made_with)),
    path,
  )
  assert recipe['commands'][-1].startswith(f'tagsdc train --config {_NAME}')
  assert recipe['updates_before'] == configs.load(_START, ()).num_updates


def test_the_weights_leave_something_to_learn():
  """No kind of foil is unknown, none is solved, and one is half known."""
  recipe = shipped.recipe(_NAME)
  foil_accuracy = recipe['measures']['foil_accuracy']['test']
  assert set(foil_accuracy) == {'all', *foils.KINDS}
  del foil_accuracy['all']
  assert all(found['low'] > 50 for found in foil_accuracy.values())
  values = [found['accuracy'] for found in foil_accuracy.values()]
  assert max(values) < 97 and any(55 < value < 80 for value in values)
  assert recipe['evaluation']['mean_r1'] < 80


def _train_split(size: str) -> dataset.RetrievalDataset:
  """Returns the world's train split; pictures are drawn when they are read."""
  [sizes] = (c for c in builder.EmbeddedWorld.BUILDER_CONFIGS if c.name == size)
  made = list(
    captions.make_split(sizes.seed, 'train', sizes.train, is_unique=False)
  )

  def read(image: int) -> dataset.Regions:
    scene, sentences = made[image]
    rng = example_rng(sizes.seed, 'train', image, 2)
    found = builder._to_example(scene, sentences, rng)
    return dataset.Regions(found['region_features'], found['boxes'])

  written: list[dataset.Caption] = []
  for image, (_, sentences) in enumerate(made):
    records = [builder._to_record(sentence) for sentence in sentences]
    written += world._read_captions(
      image, {name: [one[name] for one in records] for name in records[0]}
    )
  count = len(made[0][1])
  return dataset.RetrievalDataset(
    name='world/train',
    vocabulary=grammar.VOCABULARY,
    captions=written,
    image_ids=[f'train-{image:05d}' for image in range(len(made))],
    captions_of_image=[
      tuple(range(count * image, count * (image + 1)))
      for image in range(len(made))
    ],
    read_regions=read,
    num_regions=np.full(len(made), pictures.MAX_REGIONS, np.int32),
    feature_size=pictures.FEATURE_SIZE,
    feature_dtype=np.dtype(np.float16),
  )


def test_the_train_split_is_the_generated_one(world_dir):
  found = _train_split('tiny')
  stored = world.load_world('train', data_dir=world_dir, size='tiny')
  for name in ('vocabulary', 'image_ids', 'captions_of_image'):
    assert getattr(found, name) == getattr(stored, name)
  assert max(stored.num_regions) == pictures.MAX_REGIONS
  for ours, theirs in zip(found.captions, stored.captions, strict=True):
    for field in dataclasses.fields(ours):
      np.testing.assert_array_equal(
        getattr(ours, field.name), getattr(theirs, field.name)
      )
  for image in range(len(stored.image_ids)):
    ours, theirs = found.read_regions(image), stored.read_regions(image)
    np.testing.assert_array_equal(ours.features, theirs.features)
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)


def test_the_recipe_begins_as_its_log_says(
  path, world_dir, tmp_path, monkeypatch
):
  config = configs.load(_START, ())
  config = dataclasses.replace(
    config,
    log_every=1,
    stop_at_update=_NUM_FIRST,
    num_devices=1,
    data=dataclasses.replace(config.data, root=world_dir),
  )
  load_world = world.load_world

  def load(split, *, data_dir, size):
    # Generating 6,400 pictures would take longer than the updates, which read
    # 64 of them and none of the other splits.
    return (
      _train_split(size)
      if split == 'train'
      else load_world(split, data_dir=data_dir, size='tiny')
    )

  monkeypatch.setattr(world, 'load_world', load)
  training.train(config, tmp_path / 'run')
  repeated = _metrics(tmp_path / 'run' / folder.METRICS)
  logged = _metrics(path / shipped.FIRST_METRICS)
  for update in range(1, _NUM_FIRST + 1):
    for name in (
      'loss',
      'loss/matching',
      'loss/mlm',
      'matching_accuracy',
      'gradient_norm',
      'learning_rate',
    ):
      # Compilers sum in other orders; a draw that differed would show at once.
      np.testing.assert_allclose(
        repeated[update][name],
        logged[update][name],
        rtol=2e-3,
        err_msg=f'{name}, {update}',
      )
  # And the losses of different updates do differ by more than that.
  losses = [logged[update]['loss'] for update in range(1, _NUM_FIRST + 1)]
  assert np.min(np.abs(np.diff(losses))) > 4e-3 * losses[0]
