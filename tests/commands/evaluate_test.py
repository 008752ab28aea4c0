"""`tagsdc evaluate`: killed and continued, protocols, first pass, flags."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tagsdc_jax import files, main, settings
from tagsdc_jax.commands import evaluate
from tagsdc_jax.data import opening
from tagsdc_jax.evaluation import score_cache
from tagsdc_jax.models import retrieval
from tagsdc_jax.runs import folder, setup
from tagsdc_jax.runtime import launcher
from tagsdc_jax.training import checkpoints
from tests import children

TOY = Path(__file__).parents[1] / 'golden' / 'recordings' / 'lmdb'
_DATA = settings.Data(
  source='uniter_lmdb',
  root=str(TOY),
  test_text='txt_db/itm_toy.db',
  test_images='img_db/toy/feat_th0.2_max100_min10',
)
# 12 images: six parts.
_SETTINGS = settings.Settings(
  data=_DATA,
  num_devices=1,
  model=settings.Model(
    num_layers=1,
    hidden_size=16,
    num_heads=2,
    intermediate_size=32,
    max_positions=64,
    initializer_range=0.3,
  ),
  evaluation=settings.Evaluation(tile_texts=30, tile_images=2, num_buckets=2),
)


@pytest.fixture(scope='module', name='run_dir')
def _run_dir(tmp_path_factory):
  """A run folder with one checkpoint of a random network."""
  path = tmp_path_factory.mktemp('evaluate') / 'run'
  config = setup.with_data_sizes(_SETTINGS, opening.open_split(_DATA, 'test'))
  params = jax.tree.map(
    np.asarray,
    retrieval.init_parameters(setup.make_model(config), jax.random.key(0)),
  )
  flat = settings.flatten(config)
  checkpoints.export(
    path / 'checkpoints' / 'best' / '2',
    params,
    {'phase': 'tags', 'update': 2, 'settings': flat},
  )
  files.write_json(path / folder.CONFIG, {'settings': flat})
  return path


def _evaluate(run_dir, out, *flags):
  assert (
    main.main(
      [
        'evaluate',
        str(run_dir),
        '--json',
        f'{out}.json',
        '--scores',
        f'{out}.npy',
        *map(str, flags),
      ]
    )
    == 0
  )
  result = json.loads(Path(f'{out}.json').read_text('utf-8'))
  return np.load(f'{out}.npy'), result


@pytest.fixture(scope='module', name='whole')
def _whole(run_dir, tmp_path_factory):
  return _evaluate(run_dir, tmp_path_factory.mktemp('whole') / 'out')


# Ends itself as `kill -9` would, in the middle of writing the fourth part.
_KILLED = """
import os, signal, sys
from tagsdc_jax import files, main
original, count = files.write_whole, [0]
def write_whole(path, write):
  def dying(file):
    write(file)
    file.flush()
    file.truncate(100)
    os.kill(os.getpid(), signal.SIGKILL)
  count[0] += path.suffix == '.part'
  original(path, dying if count[0] == 4 else write)
files.write_whole = write_whole
main.main(sys.argv[1:])
"""


def test_killed_and_continued(run_dir, whole, tmp_path, capsys):
  killed = subprocess.run(
    [sys.executable, '-c', _KILLED, 'evaluate', str(run_dir)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert killed.returncode == -9, killed.stderr[-2000:]
  (work,) = (run_dir / 'evaluation').iterdir()
  assert len(list(work.glob('*.part'))) == 3
  assert len(list(work.glob('*.partial'))) == 1
  scores, result = _evaluate(run_dir, tmp_path / 'out')
  assert '3 of 6 parts are finished' in capsys.readouterr().err
  np.testing.assert_array_equal(scores, whole[0])
  assert result['pairs_found'] == 360
  for key in ('image_retrieval', 'text_retrieval', 'rsum'):
    assert result[key] == whole[1][key]
  # Nothing is left of it.
  assert not (run_dir / 'evaluation').exists()


def test_processes_divide_the_parts(
  run_dir, whole, tmp_path, monkeypatch, capfd
):
  children.prepare(monkeypatch)
  out = tmp_path / 'out'
  assert (
    launcher.run(
      [
        sys.executable,
        '-m',
        'tagsdc_jax.main',
        'evaluate',
        str(run_dir),
        '--json',
        f'{out}.json',
        '--scores',
        f'{out}.npy',
        '--work-dir',
        str(tmp_path),
        '--keep-work',
      ],
      2,
      1,
    )
    == 0
  )
  shown = capfd.readouterr()
  assert '720 pairs in' in shown.out and shown.out.count('RSUM') == 1
  # A process has the tiles that one alone would have.
  np.testing.assert_array_equal(np.load(f'{out}.npy'), whole[0])
  result = json.loads(Path(f'{out}.json').read_text('utf-8'))
  for key in ('image_retrieval', 'text_retrieval', 'rsum'):
    assert result[key] == whole[1][key]
  (work,) = tmp_path.glob('itm_toy.db-*')
  assert len(list(work.glob('*.part'))) == 6 and not list(work.glob('*.lock'))


@pytest.mark.parametrize('number, used', [(2, 2), (0, 4)])
def test_devices_divide_a_part(run_dir, whole, tmp_path, number, used):
  # It was trained with one.
  scores, result = _evaluate(
    run_dir,
    tmp_path / 'out',
    '--keep-work',
    '--work-dir',
    tmp_path,
    f'--config.num_devices={number}',
  )
  (work,) = tmp_path.glob('itm_toy.db-*')
  # 12 images, two on a device.
  assert len(list(work.glob('*.part'))) == -(-12 // (2 * used))
  np.testing.assert_allclose(scores, whole[0], atol=1e-5)
  assert result['rsum'] == whole[1]['rsum']


def test_what_is_written_and_shown(whole, run_dir, capsys):
  scores, result = whole
  assert scores.shape == (60, 12) and scores.dtype == np.float32
  assert np.std(scores) > 0.01
  sums = [
    sum(result[way].values()) for way in ('image_retrieval', 'text_retrieval')
  ]
  assert result['rsum'] == pytest.approx(sum(sums))
  assert result['image_mean'] == pytest.approx(sums[0] / 3)
  assert result['captions'] == 60 and result['images'] == 12
  assert 0 < result['padding'] < 0.5 and result['pairs_found'] == 0
  assert (
    main.main(
      [
        'evaluate',
        str(run_dir),
        '--keep-work',
        '--work-dir',
        str(run_dir / 'work'),
      ]
    )
    == 0
  )
  shown = capsys.readouterr().out
  assert 'RSUM' in shown and 'padding' in shown and '720 pairs in' in shown
  (kept,) = (run_dir / 'work').iterdir()
  assert f'parts kept in {kept}' in shown
  assert len(list(kept.glob('*.part'))) == 6
  about = json.loads((kept / score_cache.ABOUT).read_text('utf-8'))
  assert about['split'] == 'itm_toy.db'


@pytest.mark.parametrize(
  'flags', [['--json', '/dev/stdout'], ['--scores', '/dev/stdout']]
)
def test_standard_output_holds_what_was_asked_for(
  run_dir, whole, flags, capfdbinary
):
  # And not the tables, which would spoil it.
  assert main.main(['evaluate', str(run_dir), *flags]) == 0
  shown = capfdbinary.readouterr()
  if flags[0] == '--json':
    assert json.loads(shown.out)['rsum'] == whole[1]['rsum']
  else:
    np.testing.assert_array_equal(np.load(io.BytesIO(shown.out)), whole[0])
  assert b'RSUM' in shown.err and b'720 pairs in' in shown.err


def test_who_reads_no_further_takes_no_file(
  run_dir, whole, tmp_path, monkeypatch
):
  def leave(*unused):
    raise SystemExit(1)  # As the tables do on a broken pipe.

  monkeypatch.setattr(evaluate, '_print', leave)
  with pytest.raises(SystemExit):
    _evaluate(run_dir, tmp_path / 'out')
  np.testing.assert_array_equal(np.load(tmp_path / 'out.npy'), whole[0])
  shutil.rmtree(run_dir / 'evaluation')  # The same command would show them.


def test_first_pass(run_dir, whole, tmp_path, capsys):
  np.save(tmp_path / 'first.npy', whole[0])
  scores, result = _evaluate(
    run_dir,
    tmp_path / 'out',
    '--top-k-rerank',
    3,
    '--first-pass',
    tmp_path / 'first.npy',
  )
  kept = np.isfinite(scores)
  # Every caption has at least three images, every image three captions.
  assert kept.sum(axis=1).min() == 3 and kept.sum() < 60 * 12 / 2
  np.testing.assert_allclose(scores[kept], whole[0][kept], atol=1e-5)
  assert result['first_pass']['pairs'] == kept.sum()
  assert f'{kept.sum()} of 720 pairs selected; ' in capsys.readouterr().out


def test_protocols_are_printed_beside_what_was_published(capsys):
  from tagsdc_jax.commands import evaluate
  from tagsdc_jax.evaluation import recall

  recalls = {'r1': 12.3, 'r5': 45.6, 'r10': 78.9}
  counted = recall.with_means(recalls, recalls)
  precise = {
    way: {'map_at_r': 1.5, 'r_precision': 2.5, 'r1': 3.5} for way in recall.WAYS
  }
  evaluate._print(
    'tags, update 2',
    opening.open_split(_DATA, 'test'),
    counted
    | {
      'captions': 25010,
      'images': 5000,
      'pairs_found': 5,
      'seconds': 2.0,
      'pairs_per_second': 100.0,
      'protocols': {
        'coco_5k': counted | {'notes': ['mind this']},
        'eccv': precise | {'equal_sentences': precise},
      },
    },
  )
  shown = capsys.readouterr().out
  assert '200 pairs in 2.0 s, 5 scored before' in shown
  (base,) = [line for line in shown.splitlines() if 'TAGS-DC base' in line]
  # Image retrieval first, then text retrieval, and their sum.
  numbers = [
    word
    for word in base.replace('│', ' ').split()
    if word.replace('.', '').isdigit()
  ]
  assert numbers == [
    '51.6',
    '79.1',
    '87.5',
    '66.6',
    '88.6',
    '94.0',
    '59.1',
    '467.4',
  ]
  assert 'mAP@R' in shown and '2.5' in shown
  assert 'protocol coco_5k: mind this\n' in shown
  assert shown.count('equal sentences as hits') == 1


@pytest.mark.parametrize(
  'flags, message',
  [
    (
      ['--top-k-rerank', '5'],
      '--top-k-rerank and --first-pass must be given together',
    ),
    (['--first-pass', 'x.npy'], "a cheap model's scores of all pairs"),
    (
      ['--top-k-rerank', '0', '--first-pass', 'x.npy'],
      "a whole number from 1 to 2147483647, got '0'",
    ),
    (
      ['--top-k-rerank', '5', '--first-pass', 'x.npy'],
      'x.npy must be a file, but is missing',
    ),
    (
      ['--top-k-rerank', '5', '--first-pass', '/'],
      '/ must be a file, but is a folder',
    ),
    (
      ['--top-k-rerank', '5', '--first-pass', __file__],
      'is text that begins with',
    ),
    (
      ['--config.evaluation.tile_texts=0'],
      'evaluation.tile_texts must be a whole number from 1 to',
    ),
    (['--config.num_devices=5'], 'at most 4, the number of cpu devices of'),
    (
      ['--config.num_devices=-1'],
      "num_devices must be a whole number from 0 to 65536, got '-1'",
    ),
    (
      ['--config.hang_seconds=nan'],
      "hang_seconds must be a number from 0 to 1e+06, got 'nan'",
    ),
    (
      ['--config.compute.attention=cudnn'],
      'compute.attention=cudnn needs compute.dtype=bfloat16, got float32',
    ),
    (['--work-dir', __file__], 'cannot be used as a folder: '),
    (['--protocol', 'coco_5k'], '5,000 images, but itm_toy.db has 12'),
    (
      ['--data-root', '/no/such'],
      'data.root = /no/such is not a folder; pass --data-root FOLDER, where',
    ),
    (
      ['--protocol', 'coco_5k', '--protocol', 'coco_1k'],
      'protocol coco_5k needs',
    ),
    (['--work-dir', '/dev/null/x'], '/dev/null is a file; pass another path'),
    (['--json', 'no/such'], 'no/such cannot be written: folder no is missing'),
    (['--json', '.'], '. cannot be written: Is a directory; pass another path'),
    (['--scores', ''], "'' cannot be used as a path: it is empty"),
    (['--json', 'RUN/config.json'], 'is a file of the run in'),
    (['--scores', 'RUN/metrics.jsonl'], 'is a file of the run in'),
    (['--json', 'RUN/checkpoints/best/2/about/metadata'], 'of the run in'),
    (['--json', '/dev/fd/77'], '/dev/fd/77 cannot be written: Bad file desc'),
    (['--json', 'x', '--scores', './x'], '--json and --scores are the same f'),
    (
      ['--scores', 'x.npy', '--first-pass', 'x.npy', '--top-k-rerank', '1'],
      '--scores and --first-pass are the same file',
    ),
    (
      ['--config.compute.attention=cudnn', '--config.compute.dtype=bfloat16'],
      'needs a GPU, but JAX uses the cpu here',
    ),
  ],
)
def test_bad_flags_are_one_line(flags, message, run_dir, capsys):
  try:
    code = main.main(
      [
        'evaluate',
        str(run_dir),
        *(flag.replace('RUN', str(run_dir)) for flag in flags),
      ]
    )
  except SystemExit as stop:  # argparse ends the process itself.
    code = stop.code
  assert code == 2
  shown = capsys.readouterr().err.strip().splitlines()
  assert len(shown) == 1 and message in shown[0]
  assert not (run_dir / 'evaluation').exists()
