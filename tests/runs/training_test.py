"""Whole runs on the tiny world: phases, resume, folders, results."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.data.world import foils
from tagsdc_jax.runs import chain, demo, folder, report, starting, training
from tagsdc_jax.runtime import hashing, memory
from tagsdc_jax.training import checkpoints
from tests import tiny

pytestmark = pytest.mark.usefixtures('shared_updates')


@pytest.fixture(scope='module')
def runs(world_dir, tmp_path_factory, shared_updates):
  """The demo's folder: the three phases, each from the one before."""
  root = tmp_path_factory.mktemp('runs') / 'demo'
  demo.run_demo(root, _demo_configs(world_dir), is_from_scratch=True)
  return root


def _demo_configs(world_dir, **changes):
  phases = {
    'relations': 'pretrain',
    'hard_only_stage1': 'tags',
    'hard_only_stage2': 'tags',
  }
  return {
    name: tiny.make_settings(
      phases.get(name, name), world_dir, keep_at_updates=(1, 3), **changes
    )
    for name in demo.STARTS
  }


def test_the_demo_writes_every_phase_and_a_page(runs):
  results = json.loads((runs / 'results.json').read_text())
  assert results['seed'] == 0 and results['from_scratch']
  assert [e['name'] for e in results['phases']] == ['pretrain', 'tags', 'dc']
  for entry in results['phases']:
    own = json.loads((runs / entry['name'] / 'results.json').read_text())
    assert entry['parameters_sha256'] == own['parameters_sha256']
    assert entry['image_retrieval'] == own['evaluation']['image_retrieval']
    assert entry['seconds'] == own['seconds'] > 0
    for split in ('validation', 'test'):
      assert set(entry['foil_accuracy'][split]) == {'all', *foils.KINDS}
    for kind in ('synthetic_negatives', 'retrieved_negatives'):
      assert entry[kind] == own['measures'][kind]
      if entry['name'] == 'pretrain':
        assert entry[kind] is None
      else:
        assert sum(entry[kind].values()) == pytest.approx(100)
  assert results['parameters_sha256'] == entry['parameters_sha256']
  assert [e['name'] for e in results['controls']] == [
    'relations',
    'hard_only_stage1',
    'hard_only_stage2',
  ]
  assert (runs / 'report.html').read_text().startswith('<!DOCTYPE html>')


def test_the_demo_goes_on_where_it_was(runs, world_dir, tmp_path, monkeypatch):
  # The last phase was cut off: it alone is run again, from the one before.
  folder = tmp_path / 'demo'
  shutil.copytree(runs, folder)
  before = json.loads((folder / 'results.json').read_text())
  assert before['phases'].pop()['name'] == 'dc'
  (folder / 'results.json').write_text(json.dumps(before))
  (folder / 'dc' / 'results.json').unlink()
  called = []

  def train(config, run_dir):
    called.append((config.phase, config.init_from, run_dir))
    return json.loads((runs / 'dc' / 'results.json').read_text())

  monkeypatch.setattr(training, 'train', train)
  monkeypatch.setattr(demo.report, 'write_report', lambda path: path)
  after, _ = demo.run_demo(folder, _demo_configs(world_dir), True)
  assert called == [('dc', str(folder / 'tags'), folder / 'dc')]
  assert after == json.loads((runs / 'results.json').read_text())


def test_the_demo_compares_with_hard_negatives_alone(runs):
  results = json.loads((runs / 'results.json').read_text())
  entries = {e['name']: e for e in results['phases'] + results['controls']}
  rows = {(row['stage'], row['name']): row for row in results['ablation']}
  assert list(rows) == [
    (0, 'pretrain'),
    (1, 'hard_only'),
    (1, 'tags'),
    (2, 'hard_only'),
    (2, 'dc'),
  ]
  assert [row['updates'] for row in rows.values()] == [0, 4, 4, 8, 8]
  for key, run in (((1, 'hard_only'), 'hard_only_stage1'), ((2, 'dc'), 'dc')):
    row, entry = rows[key], entries[run]
    assert row['seed'] == 0
    assert row['foil_accuracy'] == entry['foil_accuracy']['test']
    assert row['image_r1'] == entry['image_retrieval']['r1']
    assert row['mean_r1'] == (row['image_r1'] + row['text_r1']) / 2
  # Each run starts from the one that it continues.
  for run, start in demo.STARTS.items():
    config = json.loads((runs / run / 'config.json').read_text())
    init_from = config['settings']['init_from']
    assert init_from == (str(runs / start) if start else '')


def test_the_demo_shows_its_table_before_it_draws(runs, world_dir, monkeypatch):
  def fail(path):
    raise errors.UserError(f'{path} cannot be drawn')

  monkeypatch.setattr(demo.report, 'write_report', fail)
  shown = []
  with pytest.raises(errors.UserError, match='cannot be drawn'):
    demo.run_demo(runs, _demo_configs(world_dir), True, shown.append)
  assert [e['name'] for e in shown[0]['phases']] == ['pretrain', 'tags', 'dc']


def test_the_demo_refuses_what_is_not_its_own(runs, world_dir, tmp_path):
  with pytest.raises(errors.UserError, match='seed = 0, got 5'):
    demo.run_demo(runs, _demo_configs(world_dir, seed=5), True)
  with pytest.raises(errors.UserError, match='from_scratch = True, got False'):
    demo.run_demo(runs, _demo_configs(world_dir), False)
  with pytest.raises(errors.UserError, match='does not belong to a demo'):
    demo.run_demo(runs / 'tags', _demo_configs(world_dir), True)
  (tmp_path / 'notes.txt').write_text('mine')
  with pytest.raises(errors.UserError, match='is not empty'):
    demo.run_demo(tmp_path, _demo_configs(world_dir), True)


@pytest.mark.parametrize('phase', ['pretrain', 'tags', 'dc'])
def test_results(runs, phase):
  results = json.loads((runs / phase / 'results.json').read_text())
  assert results['phase'] == phase and results['updates'] == 4
  for split, images in (('validation', 8), ('evaluation', 24)):
    result = results[split]
    assert result['images'] == images
    assert result['captions'] == 5 * images
    for way in ('image_retrieval', 'text_retrieval'):
      assert 0 <= result[way]['r1'] <= result[way]['r10'] <= 100
  lines = [
    json.loads(line)
    for line in (runs / phase / 'metrics.jsonl').read_text().splitlines()
  ]
  assert [x['update'] for x in lines if x['kind'] == 'train'] == [1, 2, 3, 4]
  assert [x['update'] for x in lines if x['kind'] == 'validation'] == [2, 4]
  assert all(
    0 < x['share_of_peak'] < 1.5 for x in lines if x['kind'] == 'train'
  )
  assert list((runs / phase / 'tensorboard').iterdir())
  folders = {
    kind: sorted(
      int(p.name)
      for p in (runs / phase / 'checkpoints' / kind).iterdir()
      if p.name.isdigit()
    )
    for kind in checkpoints.KINDS
  }
  assert folders['newest'] == [2, 4] and folders['kept'] == [1, 3]
  assert len(folders['best']) == 1


def test_hash_is_of_the_saved_parameters(runs):
  results = json.loads((runs / 'dc' / 'results.json').read_text())
  loaded = checkpoints.load(runs / 'dc' / 'checkpoints' / 'newest' / '4')
  assert (
    hashing.parameters_sha256(loaded.parameters) == results['parameters_sha256']
  )


@pytest.mark.parametrize(
  'phase, stops',
  # The last two of tags both validate after update 2.
  [('pretrain', (2, 0)), ('tags', (1, 2, 0)), ('dc', (1, 0))],
)
def test_resume_is_bit_for_bit(runs, phase, stops, world_dir, tmp_path):
  before = {
    'pretrain': str(runs / 'relations'),
    'tags': str(runs / 'pretrain'),
    'dc': str(runs / 'tags'),
  }[phase]
  config = tiny.make_settings(phase, world_dir, init_from=before)
  for stop in stops:
    results = training.train(
      dataclasses.replace(config, stop_at_update=stop), tmp_path / 'run'
    )
    assert ('evaluation' in results) == (stop == 0)
    assert results['updates'] == (stop or 4)
  whole = json.loads((runs / phase / 'results.json').read_text())
  assert results['parameters_sha256'] == whole['parameters_sha256']
  for split in ('validation', 'evaluation'):
    for way in ('image_retrieval', 'text_retrieval'):
      assert results[split][way] == whole[split][way]
  assert _told(tmp_path / 'run') == _told(runs / phase)


def _told(run_dir):
  """Returns update and kind of every line of metrics."""
  lines = map(json.loads, (run_dir / 'metrics.jsonl').read_text().splitlines())
  return [(x['update'], x['kind']) for x in lines]


def test_what_is_in_train_is_told_once(world_dir, capsys):
  config = tiny.make_settings('tags', world_dir)
  train, _ = tiny.open_train(world_dir)
  splits = {
    name: training.opening.open_split(config.data, name)
    for name in ('validation', 'test')
  }
  # Captions repeat by the grammar: counted, but no news.
  assert training._find_overlaps(config, train, splits) == {
    'validation': {'images': 0, 'captions': 1},
    'test': {'images': 0, 'captions': 0},
  }
  assert not capsys.readouterr().err
  part = training.opening.first_images(train, 8)
  found = training._find_overlaps(config, train, splits | {'test': part})
  assert found['test'] == {'images': 8, 'captions': 40}
  shown = capsys.readouterr().err
  assert shown.startswith(
    'test (world/train, first 8 images): 8 of 8 images '
    '(the first is train-00000) and 40 of 40 captions'
  )
  assert shown.count('\n') == 1
  elsewhere = dataclasses.replace(
    config, data=dataclasses.replace(config.data, source='uniter_lmdb')
  )
  training._find_overlaps(elsewhere, train, splits)
  assert capsys.readouterr().err.count(': no image, but 1 of 120 capt') == 1


def test_a_split_of_another_vocabulary_is_refused(
  world_dir, tmp_path, monkeypatch
):
  open_split = training.opening.open_split

  def open_other(config, split, folder):
    data = open_split(config, split, folder)
    words = data.vocabulary.words
    return dataclasses.replace(
      data,
      vocabulary=dataclasses.replace(
        data.vocabulary, words=words[::-1] if split == 'test' else words
      ),
    )

  monkeypatch.setattr(training.opening, 'open_split', open_other)
  with pytest.raises(errors.UserError, match='one vocabulary, but its words'):
    training.train(tiny.make_settings('tags', world_dir), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_loss_that_is_not_finite_loses_nothing(
  runs, world_dir, tmp_path, monkeypatch
):
  config = tiny.make_settings('pretrain', world_dir, checkpoint_every=1)
  source = tiny.make_source(config)
  captions = source.data.captions
  broken = captions[source.caption_numbers(9)[0]].image
  number = next(
    n
    for n in range(16)
    if broken in [captions[i].image for i in source.caption_numbers(n)]
  )
  assert number >= 4  # An update is done before, of 4 micro-batches each.
  open_split = training.opening.open_split

  def open_broken(data_config, split, folder):
    data = open_split(data_config, split, folder)

    def read(image):
      regions = data.read_regions(image)
      return dataclasses.replace(
        regions,
        features=regions.features
        * (np.float16(np.nan) if image == broken else 1),
      )

    return (
      dataclasses.replace(data, read_regions=read) if split == 'train' else data
    )

  run_dir = tmp_path / 'run'
  with monkeypatch.context() as patch:
    patch.setattr(training.opening, 'open_split', open_broken)
    with pytest.raises(errors.UserError) as caught:
      training.train(config, run_dir)
  line = str(caught.value)
  assert f'loss of update {number // 4 + 1} is not finite' in line
  ids = [captions[i].caption_id for i in source.caption_numbers(number)]
  assert f'micro-batch {number} with captions {", ".join(ids)} (' in line
  assert 'matching nan' in line and '\n' not in line
  newest = run_dir / 'checkpoints' / 'newest'
  assert max(int(p.name) for p in newest.iterdir()) == number // 4
  # With the data mended, and the newest checkpoint damaged, it goes on.
  shutil.rmtree(newest / str(number // 4) / 'optimizer')
  results = training.train(config, run_dir)
  whole = json.loads((runs / 'relations' / 'results.json').read_text())
  assert results['parameters_sha256'] == whole['parameters_sha256']
  assert list((run_dir / 'checkpoints' / 'damaged').iterdir())


def test_a_finished_run_stays_as_it_is(runs, world_dir):
  before = json.loads((runs / 'relations' / 'results.json').read_text())
  config = tiny.make_settings('pretrain', world_dir, keep_at_updates=(1, 3))
  again = training.train(config, runs / 'relations')
  assert again['parameters_sha256'] == before['parameters_sha256']


def test_other_settings_are_refused(runs, world_dir):
  config = tiny.make_settings('pretrain', world_dir, seed=3)
  with pytest.raises(errors.UserError, match='seed was 0, now 3'):
    training.train(config, runs / 'relations')


def test_foreign_folder_is_refused(world_dir, tmp_path):
  (tmp_path / 'letter.txt').write_text('dear')
  with pytest.raises(errors.UserError, match='not empty'):
    training.train(tiny.make_settings('pretrain', world_dir), tmp_path)


def test_a_start_that_fails_frees_the_folder(world_dir, tmp_path, monkeypatch):
  monkeypatch.setattr(memory, 'host_memory', lambda: 1000)
  # It would be refused before the folder is made.
  monkeypatch.setattr(memory, 'check_network', lambda *arguments: None)
  for seed in (0, 1):
    with pytest.raises(errors.UserError, match='^out of memory: .* lower one'):
      training.train(
        tiny.make_settings('pretrain', world_dir, seed=seed), tmp_path / 'run'
      )
  assert not any((tmp_path / 'run').iterdir())


def test_checkpoint_of_another_model_is_refused(runs, world_dir, tmp_path):
  config = tiny.make_settings(
    'tags', world_dir, init_from=str(runs / 'pretrain')
  )
  config = dataclasses.replace(
    config, model=dataclasses.replace(config.model, hidden_size=8)
  )
  with pytest.raises(errors.UserError, match='different model: model.hidden_'):
    training.train(config, tmp_path / 'run')


def test_later_phase_cannot_start_an_earlier_one(runs, world_dir, tmp_path):
  config = tiny.make_settings('tags', world_dir, init_from=str(runs / 'dc'))
  with pytest.raises(errors.UserError, match='comes after tags'):
    training.train(config, tmp_path / 'run')


def test_heads_between_phases(runs):
  def kept(phase, update):
    return checkpoints.load(
      runs / phase / 'checkpoints' / 'kept' / str(update)
    ).parameters

  # itm_output is trained in pretraining and left alone from then on.
  start = checkpoints.load(runs / 'pretrain').parameters['itm_output']
  for phase in ('tags', 'dc'):
    np.testing.assert_array_equal(
      kept(phase, 1)['itm_output']['kernel'], start['kernel']
    )
  # The first update is small: the new heads are still near their origin.
  rank = kept('tags', 1)['rank_output']['kernel'][:, 0]
  assert np.abs(rank - start['kernel'][:, 1]).max() < 0.02
  trained = checkpoints.load(runs / 'tags').parameters
  rank = kept('dc', 1)['rank_output']['kernel']
  assert np.abs(rank - trained['rank_output']['kernel']).max() < 0.02
  disc = kept('dc', 1)['disc_output']['kernel']
  assert np.abs(disc - start['kernel']).max() < 0.02


@pytest.mark.parametrize('is_reset', [False, True])
def test_stage_2_forgets_the_matching_head_if_told(
  is_reset, world_dir, tmp_path
):
  path = tmp_path / 'tags'
  config = tiny.make_settings(
    'dc',
    world_dir,
    init_from=str(path),
    quirks=settings.Quirks(reset_rank_head=is_reset),
  )
  task = tiny.make_task(config)
  tx, _ = tiny.make_state(task)
  fresh = starting.fresh_state(task, tx, False)
  trained = {
    'kernel': np.ones((16, 1), np.float32),
    'bias': np.ones(1, np.float32),
  }
  checkpoints.export(
    path,
    fresh.params | {'rank_output': trained},
    {
      'phase': 'tags',
      'update': 1,
      'settings': settings.flatten(
        dataclasses.replace(task.settings, phase='tags')
      ),
    },
  )
  started = starting.start_phase(task, fresh).params
  match_row = {
    name: leaf[..., 1:] for name, leaf in fresh.params['itm_output'].items()
  }
  expected = match_row if is_reset else trained
  for name, leaf in expected.items():
    np.testing.assert_array_equal(started['rank_output'][name], leaf)
  # The word heads start alike either way.
  np.testing.assert_array_equal(
    started['disc_output']['kernel'], fresh.params['itm_output']['kernel']
  )


def test_a_step_of_alignment_alone_is_not_ranked(world_dir, tmp_path, capsys):
  align = tiny.make_settings(
    'pretrain',
    world_dir,
    losses=settings.Losses(mlm=0.0, alignment=1.0),
    negatives=settings.Negatives(num_in_batch=0),
  )
  results = training.train(align, tmp_path / 'align')
  assert results['evaluation'] == {} and results['validation'] is None
  text = (tmp_path / 'align' / folder.METRICS).read_text('utf-8')
  kinds = {json.loads(line)['kind'] for line in text.splitlines()}
  assert kinds == {'train'}
  assert 'scoring' not in capsys.readouterr().err
  # A second call reads it, and pretraining starts from its last weights.
  assert chain.train_from('', align, tmp_path / 'align') == results
  task = tiny.make_task(
    tiny.make_settings('pretrain', world_dir, init_from=str(tmp_path / 'align'))
  )
  _, fresh = tiny.make_state(task)
  started = starting.start_phase(task, fresh)
  digest = hashing.parameters_sha256(started.params)
  assert digest == results['parameters_sha256']
  page = report.write_report(tmp_path / 'align')
  assert 'Alignment' in page.read_text('utf-8')
