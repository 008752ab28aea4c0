"""`tagsdc foils`: the world's own foils, files of every kind, bad input."""

import dataclasses
import io
import json

import pytest

from tagsdc_jax import main, settings
from tagsdc_jax.data import opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import foils as world_foils
from tagsdc_jax.evaluation import foils as foil_evaluation
from tagsdc_jax.foil_files import reading
from tagsdc_jax.runs import setup
from tagsdc_jax.runtime import parallel
from tagsdc_jax.training import checkpoints
from tests import tiny
from tests.reporting.page_rendering_test import Reader


@pytest.fixture(scope='module', name='network')
def _network(world_dir):
  """Settings and parameters of a random network."""
  config = tiny.make_settings('dc', world_dir, num_devices=1)
  config = setup.with_data_sizes(
    config, opening.open_split(config.data, 'test')
  )
  return config, tiny.large_parameters(setup.make_model(config))


@pytest.fixture(scope='module', name='runs')
def _runs(network, tmp_path_factory):
  """Run folders with it, as of two phases."""
  config, params = network
  folder = tmp_path_factory.mktemp('foils')
  for phase in ('dc', 'tags'):
    checkpoints.export(
      folder / phase / 'checkpoints' / 'best' / '2',
      params,
      {'phase': phase, 'update': 2, 'settings': settings.flatten(config)},
    )
  return folder


@pytest.fixture(scope='module', name='data')
def _data(network):
  return opening.open_split(network[0].data, 'test')


def _foils(*words):
  return main.main(['foils', *map(str, words)])


def _results(out, *words):
  path = out / 'results.json'
  assert _foils(*words, '--json', path, '--no-language-head') == 0
  return json.loads(path.read_text('utf-8'))


def _write(path, content):
  path.write_text(json.dumps(content), 'utf-8')
  return path


def test_the_worlds_own_foils_are_the_demos(
  runs, network, data, world_dir, tmp_path, capsys
):
  config, params = network
  devices = parallel.local_devices(1)
  expected = foil_evaluation.foil_accuracy(
    setup.make_model(config),
    parallel.replicate(params, devices),
    data,
    world_foils.make_foils(
      data, world.load_scenes('test', data_dir=world_dir, size='tiny')
    ),
    devices=devices,
  )
  page, table = tmp_path / 'page.html', tmp_path / 'world.csv'
  path = tmp_path / 'all.json'
  words = ['--json', path, '--page', page, '--write', table]
  assert _foils(runs / 'dc', 'world:test', *words) == 0
  results = json.loads(path.read_text('utf-8'))
  (one,) = results['benchmarks']
  assert {
    kind: (row['accuracy'], row['count']) for kind, row in one['kinds'].items()
  } == {
    kind: (row['accuracy'], row['count'])
    for kind, row in expected.items()
    if kind != 'all'
  }
  assert one['mean']['accuracy'] == expected['all']['accuracy']
  assert 20 < one['mean']['accuracy'] < 80
  # All pictures are new, and the table does not repeat it.
  assert one['all']['unseen'] == one['all']['unseen'] | {
    'count': one['all']['count'],
    'accuracy': one['all']['accuracy'],
  }
  assert 0 <= one['all']['blind']['fluency'] <= 100
  assert one['kinds']['swap']['blind']['words'] == 50
  assert one['kinds']['swap']['same_words']['count'] > 0
  assert one['kinds']['shape']['same_words']['count'] == 0
  shown = capsys.readouterr()
  assert 'world test: caption above foil' in shown.out
  assert 'all pictures are outside the training split' in shown.out
  # The same items in a file.
  again = _results(tmp_path, runs / 'dc', table)['benchmarks'][0]
  assert again['family'] == 'BiVLC'
  assert [row['right'] for row in again['kinds'].values()] == [
    row['right'] for row in one['kinds'].values()
  ]
  text = page.read_text('utf-8')
  Reader(text)
  assert text.count('<article') == 9 and 'data:image/png' in text
  # The same bytes, whatever else is in memory.
  before = page.read_bytes()
  assert _foils(runs / 'dc', 'world:test', *words) == 0
  assert page.read_bytes() == before


def _pairs(data, count, start=0):
  """Captions with foils that are captions of the next picture."""
  return [
    (
      data.image_ids[image],
      data.captions[data.captions_of_image[image][0]].text,
      data.captions[data.captions_of_image[image + 1][0]].text,
    )
    for image in range(start, start + count)
  ]


def test_what_is_not_scored_is_told(runs, data, tmp_path, capsys):
  names = [
    {'filename': name, 'caption': caption, 'negative_caption': foil}
    for name, caption, foil in _pairs(data, 6)
  ]
  train = opening.open_split(
    settings.Data(root=data_root(runs), world_size='tiny'), 'train'
  )
  names[0]['filename'] = 'nowhere/000000000139.jpg'
  names[1]['caption'] = 'a red dragon'
  names[2]['negative_caption'] = ' '.join(['circle'] * 31)
  names[3]['caption'] = 'a [MASK] circle'
  names[4]['filename'] = f'folder/{train.image_ids[3]}.jpg'
  path = _write(tmp_path / 'swap_obj.json', names)
  result = _results(tmp_path, runs / 'dc', path)
  (one,) = result['benchmarks']
  assert one['all']['count'] == 3
  assert one['not_scored'] == {
    'no_picture': {'count': 1, 'first': ['nowhere/000000000139.jpg']},
    'too_long': {'count': 1, 'first': ['[2]']},
    'special_tokens': {'count': 1, 'first': ['[3]']},
  }
  assert one['splits'] == {'test': 2, 'train': 1}
  assert one['all']['unseen']['count'] == 2
  unknown = result['unknown_words']
  assert unknown == {'sentences': 1, 'words': 1, 'first': ['dragon']}
  shown = capsys.readouterr().out
  assert (
    'SugarCrepe: 1 of 6 items have no picture in the data: '
    'nowhere/000000000139.jpg\n'
  ) in shown
  assert "read as [UNK]: 'dragon'" in shown and 'new pictures' in shown
  # Only in the splits that are named.
  (one,) = _results(tmp_path, runs / 'dc', path, '--split', 'test')[
    'benchmarks'
  ]
  assert one['splits'] == {'test': 2}


def data_root(runs):
  """Returns where the runs' data is."""
  loaded = checkpoints.load(runs / 'dc')
  return checkpoints.settings_of(loaded).data.root


def test_other_prepared_data(runs, data, tmp_path, capsys):
  prepared = tmp_path / 'prepared'
  words = [f'--config.data.root={data_root(runs)}']
  words += ['--config.data.world_size=tiny']
  assert (
    main.main(['prepare', str(prepared), '--config', 'world_tags', *words]) == 0
  )
  path = _write(
    tmp_path / 'x.json',
    [
      {'image': name, 'caption': caption, 'foil': foil}
      for name, caption, foil in _pairs(data, 4)
    ],
  )
  own, other = (
    _results(tmp_path, runs / 'dc', path, *more)
    for more in ([], ['--data', prepared])
  )
  assert own['benchmarks'][0]['all'] == other['benchmarks'][0]['all']
  assert other['data'].startswith('prepared/test')
  # Pictures of training are known by their names.
  assert other['benchmarks'][0]['all']['unseen']['count'] == 4
  capsys.readouterr()
  assert _foils(runs / 'dc', path, '--data', tmp_path) == 2
  assert 'is no prepared data set' in capsys.readouterr().err


def test_parts_of_pictures(runs, data, tmp_path, capsys):
  box = {'bbox': [0, 0, 50, 100], 'width': 100, 'height': 100}
  lines = [
    {
      'img_path': name,
      'pos_expression': [caption],
      'neg_expression': [foil],
      **change,
    }
    for change in (
      box,
      box | {'bbox': [0, 0, 100, 100]},
      box | {'bbox': [200, 0, 9, 9]},
      {'bbox': [0, 0, 50, 100]},
    )
    for name, caption, foil in _pairs(data, 4)
  ]
  path = tmp_path / 'boxes.jsonl'
  path.write_text('\n'.join(map(json.dumps, lines)), 'utf-8')
  page = tmp_path / 'page.html'
  (one,) = _results(tmp_path, runs / 'dc', path, '--page', page)['benchmarks']
  assert one['all']['count'] == 8 and one['splits'] == {'test': 4}
  assert one['not_scored']['no_area']['count'] == 4
  # Neither the file nor the world says how large its pictures are.
  assert one['not_scored']['no_size']['count'] == 4
  assert 'x="0.0" y="0.0" width="50.0"' in page.read_text('utf-8')
  shown = capsys.readouterr().out
  assert '4 of 16 items have a box in a picture whose size is unknown' in shown


def test_two_pictures(runs, data, tmp_path):
  path = _write(
    tmp_path / 'quads.json',
    [
      [one[0], one[1], two[0], two[1]]
      for one, two in zip(_pairs(data, 6), _pairs(data, 6, 8), strict=True)
    ],
  )
  page = tmp_path / 'page.html'
  (one,) = _results(tmp_path, runs / 'dc', path, '--page', page)['benchmarks']
  row = one['all']
  assert one['family'] == 'COLA' and row['count'] == 6
  assert row['right'] <= min(row['text']['right'], row['image']['right'])
  assert row['blind'] == {'words': None, 'fluency': None}
  assert sum(one['splits'].values()) == 12
  assert page.read_text('utf-8').count('<img ') == 12


def _foil_v1(data):
  annotations = []
  for image in range(8):
    caption = data.captions[data.captions_of_image[image][0]]
    words = caption.text.split()
    place = max(i for i, word in enumerate(words) if words.count(word) == 1)
    shape = 'star' if words[place] != 'star' else 'cross'
    shared = {'image_id': data.image_ids[image], 'id': image}
    original = {'foil_word': 'ORIG', 'target_word': 'ORIG'}
    changed = [*words[:place], shape, *words[place + 1 :]]
    annotations += [
      {**shared, **original, 'caption': caption.text, 'foil': False},
      {
        **shared,
        'caption': ' '.join(changed),
        'foil': True,
        'foil_word': shape,
        'target_word': words[place],
      },
    ]
  return {'annotations': annotations}


def test_the_word_tasks_need_word_heads(runs, data, tmp_path, capsys):
  path = _write(tmp_path / 'foilv1.json', _foil_v1(data))
  page = tmp_path / 'page.html'
  (one,) = _results(tmp_path, runs / 'dc', path, '--page', page)['benchmarks']
  tasks = one['tasks']
  assert tasks['classify']['count'] == 16
  assert tasks['find']['count'] + tasks['unknown'] == 8
  assert tasks['mend']['count'] >= 6
  assert 'find' in capsys.readouterr().out
  assert 'FOIL’s tasks' in page.read_text('utf-8')
  (one,) = _results(tmp_path, runs / 'tags', path)['benchmarks']
  assert one['tasks']['find'] is None and one['tasks']['mend'] is None
  assert one['tasks']['classify'] == tasks['classify']
  assert 'needs the word heads of stage 2 (phase dc)' in capsys.readouterr().out


def test_half_truths(runs, tmp_path):
  table = tmp_path / 'half.csv'
  words = ['--half-truths', '--write', table, '--seed', '3']
  (made,) = _results(tmp_path, runs / 'dc', *words)['benchmarks']
  assert made['family'] == 'half-truths'
  assert list(made['kinds']) == ['object', 'attribute', 'relation']
  read = reading.read(table)
  assert len(read.items) == made['all']['count'] > 200
  (again,) = _results(tmp_path, runs / 'dc', table)['benchmarks']
  assert again['all'] == made['all']


def test_devices_only_divide_the_work(runs, tmp_path):
  one, three = (
    _results(tmp_path, runs / 'dc', 'world:test', f'--config.num_devices={n}')
    for n in (1, 3)
  )
  for result in (one, three):
    del result['seconds']
  assert one == three


def test_standard_output_holds_what_was_asked_for(runs, data, tmp_path, capfd):
  path = _write(
    tmp_path / 'x.json',
    [
      {'image': name, 'caption': caption, 'foil': foil}
      for name, caption, foil in _pairs(data, 2)
    ],
  )
  words = ['--json', '/dev/stdout', '--no-language-head']
  assert _foils(runs / 'dc', path, *words) == 0
  shown = capfd.readouterr()
  assert json.load(io.StringIO(shown.out))['pairs'] == 4
  assert 'caption above foil' in shown.err


@pytest.mark.parametrize(
  'words, message',
  [
    ([], 'pass foil files, world:test, or --half-truths'),
    (['world:dev'], 'the split must be one of train, validation, test'),
    (['FILE', '--write', 'OUT.csv'], '--write writes what is made here'),
    (['FILE', '--json', 'OUT', '--page', 'OUT'], 'are the same file'),
    (['FILE', '--json', 'FILE'], 'the foil file FILE are the same file'),
    (['FILE', 'FILE'], 'are the same file; name it once'),
    (['missing.json'], 'must be a file, but is missing'),
    (['world:test', '--split', 'train'], 'world:test needs --split test'),
    (
      ['FILE'],
      'no item can be scored with world/test, world/validation, world',
    ),
    (['FILE'], "1 items of SugarCrepe have no picture in the data, such as n'"),
  ],
)
def test_bad_input(runs, words, message, tmp_path, capsys):
  path = _write(
    tmp_path / 'x.json',
    {'0': {'filename': "n'", 'caption': 'a', 'negative_caption': 'b'}},
  )

  def named(text):
    return text.replace('FILE', str(path)).replace('OUT', str(tmp_path / 'out'))

  capsys.readouterr()
  assert _foils(runs / 'dc', *map(named, words)) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.startswith('tagsdc foils: ') and named(message) in line


def test_data_without_words(runs, network, tmp_path, capsys, monkeypatch):
  config, _ = network
  original = opening.open_split

  def without_words(*args):
    data = original(*args)
    vocabulary = dataclasses.replace(data.vocabulary, words=())
    return dataclasses.replace(data, vocabulary=vocabulary)

  monkeypatch.setattr(opening, 'open_split', without_words)
  path = _write(
    tmp_path / 'x.json', [{'image': 'test-00000', 'caption': 'a', 'foil': 'b'}]
  )
  assert _foils(runs / 'dc', path) == 2
  assert 'set data.vocabulary' in capsys.readouterr().err
