"""A user's data source, by its name in a config, from training to the page."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tagsdc_jax import errors, main, settings
from tagsdc_jax.data import checking, dataset, opening
from tests.extending import my_captions


def _results(run_dir):
  return json.loads((run_dir / 'results.json').read_text('utf-8'))


def test_a_run_tells_its_source(my_run, my_config):
  config = json.loads((my_run / 'config.json').read_text('utf-8'))['settings']
  assert config['data.source'] == 'my_captions:open_split'
  assert config['extensions'] == str(my_config.parent)
  assert config['model.vocab_size'] == 17 and config['model.feature_size'] == 6
  results = _results(my_run)
  assert results['updates'] == 4 and results['measures'] is None
  for part, split in (
    ('validation', 'validation, first 8 images'),
    ('evaluation', 'test'),
  ):
    assert results[part]['split'] == f'my captions, {split}'
  assert results['in_train']['test']['images'] == 0


def test_stopped_and_continued_is_the_same_run(
  my_run, my_config, tmp_path, shared_updates
):
  command = ['train', '--config', str(my_config), '--run-dir', str(tmp_path)]
  assert main.main([*command, '--config.stop_at_update=2']) == 0
  assert _results(tmp_path)['updates'] == 2
  assert main.main(command) == 0
  continued, whole = _results(tmp_path), _results(my_run)
  assert continued['parameters_sha256'] == whole['parameters_sha256']
  assert (
    continued['evaluation']['image_retrieval']
    == whole['evaluation']['image_retrieval']
  )


def test_prepare_and_evaluate_and_report(my_run, my_config, tmp_path, capsys):
  assert main.main(['prepare', '--config', str(my_config)]) == 0
  assert 'my captions, test: 12 images, 24 captions' in capsys.readouterr().out
  # The checkpoint of the last update, which the test split was ranked with.
  newest = my_run / 'checkpoints' / 'newest' / '4'
  out = tmp_path / 'out.json'
  assert main.main(['evaluate', str(newest), '--json', str(out)]) == 0
  assert 'my captions, test' in capsys.readouterr().out
  again = json.loads(out.read_text('utf-8'))
  assert again['split'] == 'my captions, test'
  assert (
    again['text_retrieval'] == _results(my_run)['evaluation']['text_retrieval']
  )
  assert main.main(['report', str(my_run)]) == 0
  page = (my_run / 'report.html').read_text('utf-8')
  assert 'my captions, test' in page and 'my_captions:open_split' in page


def test_files_that_have_moved(my_run, my_config, tmp_path, capsys):
  elsewhere = tmp_path / 'elsewhere'
  shutil.copytree(my_config.parent, elsewhere)
  shutil.copytree(my_run, tmp_path / 'run')
  for name, code in (('gone', 2), ('elsewhere', 0)):
    assert code == main.main(
      [
        'evaluate',
        str(tmp_path / 'run'),
        f'--config.extensions={tmp_path / name}',
      ]
    )
  assert f'there is no file {tmp_path}/gone/my_captions.py' in (
    capsys.readouterr().err
  )


@pytest.mark.parametrize(
  'content, message',
  [
    (None, 'but there is no file'),
    ('x = 1', 'defines no open_split'),
    (
      'def open_split(config, split):\n  return {}["x"]',
      "split train, failed: my_captions.py, line 2: KeyError: 'x'",
    ),
    (
      'def open_split(config, split):\n  return [1]',
      'must return a tagsdc_jax.data.dataset.RetrievalDataset, got list',
    ),
    ('def open_split(config):\n  pass', 'failed: TypeError: open_split() tak'),
    (
      'def open_split(config, split):\n  raise SystemExit',
      'my_captions.py, line 2: SystemExit',
    ),
    (
      'from tagsdc_jax import errors\ndef open_split(config, split):\n'
      '  raise errors.UserError("write them first")',
      'train, failed: my_captions.py, line 3: write them first',
    ),
    ('def open_split(:', 'line 1 cannot be run: SyntaxError'),
  ],
)
def test_bad_files_are_one_line(content, message, my_config, tmp_path, capsys):
  if content is not None:
    (tmp_path / 'my_captions.py').write_text(content, 'utf-8')
  code = main.main(
    [
      'train',
      '--config',
      str(my_config),
      '--run-dir',
      str(tmp_path / 'run'),
      f'--config.extensions={tmp_path}',
    ]
  )
  shown = capsys.readouterr().err.strip().splitlines()
  assert code == 2 and len(shown) == 1, shown
  assert shown[0].startswith('tagsdc train: data.source ')
  assert 'my_captions:open_split' in shown[0] and message in shown[0]
  assert not (tmp_path / 'run').exists()


def _caption(**changes):
  return lambda data: {
    'captions': [
      dataclasses.replace(data.captions[0], **changes),
      *data.captions[1:],
    ]
  }


def _vocabulary(**changes):
  return lambda data: {
    'vocabulary': dataclasses.replace(data.vocabulary, **changes)
  }


def _regions(**changes):
  def of(data):
    good = data.read_regions(0)
    return {
      'read_regions': lambda image: dataclasses.replace(
        good,
        **{
          name: change(getattr(good, name)) for name, change in changes.items()
        },
      )
    }

  return of


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda data: {'name': None}, 'a name, got None'),
    (_vocabulary(sep=17), 'vocabulary.sep from 0 to 16, got 17'),
    (_vocabulary(random_range=(5, 18)), r'0 <= low < high <= 17, got \(5, 18'),
    (_vocabulary(words=('a',)), '17 vocabulary.words, or none, got 1'),
    (_vocabulary(size=np.int64(17)), 'vocabulary.size as int, got int64'),
    (lambda data: {'vocabulary': 17}, 'as a Vocabulary, got int'),
    (lambda data: {'captions': []}, 'at least one caption, got none'),
    (lambda data: {'captions': ['a dog']}, 'failed: AttributeError'),
    (_caption(caption_id=3), 'caption ids as strings, got 3'),
    (_caption(caption_id='train-1'), 'unique caption ids, got 1 repeated'),
    (_caption(image=12), 'caption train-0, must give image from 0 to 11, got '),
    (_caption(image=1), r'captions_of_image\[0\] = \(1,\), the captions of'),
    (_caption(token_ids=np.zeros(0, int)), 'one or more integers'),
    (_caption(token_ids=np.array([5.0])), 'one or more integers'),
    (_caption(token_ids=[5, 17]), r'token_ids from 0 to 16, got \[5, 17\]'),
    (_caption(token_ids=[2, 5]), r'without \[CLS\], which is added later'),
    (_caption(token_ids=[5, 6], phrases=((0, 2),)), 'positions from 0 to 1'),
    (_caption(text=None), 'text as a string'),
    (
      lambda data: {'image_ids': data.image_ids[1:]},
      'captions_of_image for each of 11 images, got 12',
    ),
    (lambda data: {'image_ids': ['x'] * 12}, 'unique image ids, got 11 repeat'),
    (lambda data: {'num_regions': np.zeros(12, int)}, 'positive integers'),
    (lambda data: {'num_regions': np.full(12, 3)}, 'at most num_regions = 3 r'),
    (lambda data: {'feature_dtype': np.float64}, 'float16 or float32, got f'),
    (lambda data: {'feature_dtype': np.float16}, 'must be float16, got float3'),
    (lambda data: {'feature_size': 7}, r'must have shape \[regions, 7\], got'),
    (lambda data: {'feature_size': 6.0}, 'feature_size as int, got float'),
    (lambda data: {'read_regions': None}, 'a function read_regions, got None'),
    (lambda data: {'read_regions': lambda image: None}, 'must give Regions, g'),
    (lambda data: {'read_regions': {}.__getitem__}, 'failed: KeyError: 0'),
    (_regions(features=lambda x: x * np.nan), 'features must be finite, got n'),
    (_regions(boxes=lambda x: x * 100), "divided by the image's width or h"),
    (_regions(boxes=lambda x: x.tolist()), 'failed: AttributeError'),
  ],
)
def test_bad_data_sets_are_refused(change, message, my_data):
  config = settings.Data(root=str(my_data), source='my_captions:open_split')

  def source(given, split):
    data = my_captions.open_split(given, split)
    return dataclasses.replace(data, **change(data))

  with pytest.raises(errors.UserError, match=message) as caught:
    checking.open_checked(source, config, 'train')
  assert str(caught.value).startswith(
    'data.source = my_captions:open_split, split train, '
  )


def test_later_images_are_checked_when_read(my_data):
  def source(config, split):
    data = my_captions.open_split(config, split)
    return dataclasses.replace(
      data,
      read_regions=lambda image: (
        data.read_regions(image) if image < 3 else dataset.Regions([], [])
      ),
    )

  data = checking.open_checked(
    source, settings.Data(root=str(my_data), source='a:b'), 'test'
  )
  data.read_regions(2)
  with pytest.raises(errors.UserError, match='of image test 3.jpg failed: '):
    data.read_regions(3)


def test_phrases_may_be_lists_and_arrays(my_data):
  def source(config, split):
    data = my_captions.open_split(config, split)
    return dataclasses.replace(
      data,
      captions=[
        dataclasses.replace(caption, phrases=[np.array([0, 1]), []])
        for caption in data.captions
      ],
    )

  data = checking.open_checked(
    source, settings.Data(root=str(my_data), source='a:b'), 'test'
  )
  assert {caption.phrases for caption in data.captions} == {((0, 1),)}


def test_what_is_sound_comes_as_the_package_has_it(my_data, my_config):
  config = settings.Data(
    root=str(my_data), source='my_captions:open_split', max_caption_tokens=5
  )
  folder = str(my_config.parent)
  train, test = (
    opening.open_split(config, split, folder) for split in ('train', 'test')
  )
  for data in (train, test):
    assert {c.token_ids.dtype for c in data.captions} == {np.dtype(np.int32)}
    assert data.num_regions.dtype == np.int32
  # As of every source: only training captions are left out.
  longest = [
    max(len(c.token_ids) for c in data.captions) for data in (train, test)
  ]
  assert longest == [5, 8] and len(train.image_ids) == 12
  contents = opening.open_contents(config, 'train', folder)
  assert contents == dataset.contents_of(train)
  assert set(opening.SOURCES) == set(settings.SOURCES)
