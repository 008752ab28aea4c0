"""One run of the recorder, from the options to the folders."""

import argparse
import contextlib
import json
import os
import platform
import time
from typing import Any, Dict, Iterator, NamedTuple

import numpy as np
import torch

from recorder import (
  batches,
  evaluation,
  forward,
  hard_negatives,
  lmdb_copies,
  stages,
  weights,
)
from recorder import databases as databases_lib
from recorder import manifest as manifest_lib
from recorder import release as release_lib
from recorder.databases import Databases
from recorder.progress import duration, say
from recorder.release import Release

# With a smaller gap, another program may select differently.
_SAFE_GAP = 1e-4


# Shared by all batches; `data` is the evaluation's data set or None.
Job = NamedTuple(
  'Job',
  [
    ('options', argparse.Namespace),
    ('release', Release),
    ('databases', Databases),
    ('model', torch.nn.Module),
    ('sizes', Dict[str, Any]),
    ('data', Any),
  ],
)


def record(options: argparse.Namespace) -> None:
  """Writes the recordings that the options ask for.

  Raises:
    Problem: if release, weights and data do not match.
  """
  start = time.time()
  with _quiet():
    release = release_lib.load(options.release)
    for name in release.standins:
      say('{}: cannot be imported, using a stand-in'.format(name))
    config = weights.read_config(options.model_config)
    databases = databases_lib.open_databases(release, options)
    state = weights.read(options.checkpoint)
    databases_lib.check(databases, options, state, config)
    captions = batches.choose_captions(databases, options)
    for caption in captions:
      databases_lib.check_caption(databases, caption, options)
    data = (
      evaluation.make_dataset(release, databases, options)
      if options.eval_images
      else None
    )
    job = Job(
      options,
      release,
      databases,
      weights.build(release, state, options),
      dict(config, img_dim=weights.feature_size(state)),
      data,
    )
    first = ''
    for number, caption in enumerate(captions):
      folder = (
        options.out
        if len(captions) == 1
        else os.path.join(options.out, 'batch_{}'.format(number + 1))
      )
      say('caption {} -> {}'.format(caption, folder))
      os.makedirs(folder, exist_ok=True)
      _record_batch(job, caption, options.seed + number, folder, first)
      # Weights and evaluation do not depend on the batch.
      job, first = job._replace(data=None), first or folder
  say('done in {}'.format(duration(time.time() - start)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Hides the release's output."""
  with open(os.devnull, 'w') as sink, contextlib.redirect_stdout(sink):
    yield


def _record_batch(
  job: Job, caption: str, seed: int, folder: str, first: str
) -> None:
  """Writes a folder of recordings; `first` is one that has the weights."""
  release, options = job.release, job.options
  release.misc.set_random_seed(seed)
  rows, names = batches.for_forward(release, job.databases, caption, options)
  arrays = forward.record(release, job.model, rows)
  rounding = forward.rounding(arrays)
  manifest = manifest_lib.Manifest(
    folder,
    config='recorded',
    seed=seed,
    model=job.sizes,
    special_ids=_special_ids(job.databases),
    generated_with=_environment(release),
    settings=_settings(options),
    tolerances=manifest_lib.tolerances(rounding),
  )
  name = 'checkpoint_stage{}'.format(options.stage)
  origin = 'stage-{} model ({}.*)'.format(options.stage, name)
  manifest.add(
    'forward.npz',
    arrays,
    'forward pass of the {}, evaluation mode, mixed lengths'.format(origin),
    checkpoint=name,
    float32_vs_float64_max_abs=rounding,
    **names,
  )
  _add_negatives(job, caption, manifest, name, origin)
  if job.data is not None:
    arrays, results = evaluation.record(release, job.model, job.data, options)
    copies = lmdb_copies.write(job.databases, job.data, options, folder)
    manifest.add(
      'evaluation.npz',
      arrays,
      'retrieval evaluation of the {} on '
      '{}, as evaluate() and as inf_nsgd.py'.format(
        origin, ' and '.join(copies)
      ),
      checkpoint=name,
      **results,
    )
    manifest.add_others(copies, 'records that the evaluation reads')
  files = (
    weights.share(first, folder, name)
    if first
    else weights.save(job.model, folder, name)
  )
  manifest.add_others(files, 'state dict that all of this was computed with')
  with open(
    os.path.join(folder, 'model_config.json'), 'w', encoding='utf-8'
  ) as file:
    json.dump(
      {key: value for key, value in job.sizes.items() if key != 'img_dim'},
      file,
      indent=1,
    )
  manifest.add_others(['model_config.json'], 'sizes, as the release reads them')
  manifest.write()


def _add_negatives(
  job: Job,
  caption: str,
  manifest: manifest_lib.Manifest,
  name: str,
  origin: str,
) -> None:
  """Adds the retrieved and generated negatives of one caption."""
  model, options = job.model, job.options
  text, text_names = batches.from_text(
    job.release, job.databases, caption, options
  )
  image, image_names = batches.from_image(
    job.release, job.databases, caption, options
  )
  arrays = hard_negatives.record(job.release, model, text, image)
  _warn_of_ties(arrays)
  manifest.add(
    'hard_negatives.npz',
    arrays,
    'retrieved negatives of the {}, training mode, dropout 0'.format(origin),
    checkpoint=name,
    hard_size=options.hard_size,
    margin=options.margin,
    t=text_names,
    i=image_names,
  )
  entries: Dict[str, Any] = {
    'hard_size': options.hard_size,
    'nsgd_sample_size': options.nsgd_samples,
    'mlm_sample_size': options.mlm_samples,
    'temperature': options.temperature,
    'margin': options.margin,
    'caption_id': caption,
    'image_id': text_names['image_id'],
  }
  if options.stage == 1:
    arrays = stages.stage1(model, text)
  else:
    arrays, entries['released_error'] = stages.stage2(
      model, text, options.release
    )
    # Rounded, because they are float32 there.
    entries['disc_weights'] = [
      round(weight, 6) for weight in model.disc_weights.tolist()
    ]
  _warn_of_ties(arrays)
  manifest.add(
    'synthetic_stage{}.npz'.format(options.stage),
    arrays,
    'written negatives of the {}, training mode, dropout 0'.format(origin),
    checkpoint=name,
    **entries,
  )


def _warn_of_ties(arrays: Dict[str, np.ndarray]) -> None:
  """Warns if the selection of negatives depends on rounding."""
  for key, value in arrays.items():
    if key.endswith('boundary_gap') and value < _SAFE_GAP:
      say(
        'warning: {} is {:.1e}: the last selected negative and the next one '
        'score nearly the same, so another program may choose differently; '
        'if so, use another --seed or caption'.format(key, value)
      )


def _special_ids(databases: Databases) -> Dict[str, Any]:
  meta = databases.meta
  ids = {name: meta[name] for name in ('CLS', 'SEP', 'MASK', 'v_range')}
  # The release pads with 0, whatever the vocabulary, and never uses UNK.
  return dict(ids, PAD=0, UNK=meta.get('UNK', 0))


def _environment(release: Release) -> Dict[str, Any]:
  return {
    'torch': torch.__version__,
    'numpy': np.__version__,
    'python': platform.python_version(),
    'device': 'cpu',
    'threads': torch.get_num_threads(),
    'dtype': 'float32 unless a key starts with f64/',
    'dropout': 0.0,
    'release_commit': release.commit,
    'standins': release.standins,
  }


def _settings(options: argparse.Namespace) -> Dict[str, Any]:
  """Returns the options, with paths reduced to file names."""
  paths = ('release', 'model_config', 'checkpoint', 'txt_db', 'img_db', 'out')
  return {
    name: os.path.basename(os.path.abspath(value)) if name in paths else value
    for name, value in sorted(vars(options).items())
  }
