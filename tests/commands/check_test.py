"""`tagsdc check`: images by id, number and photo; files; what cannot be."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tagsdc_jax as tagsdc
from tagsdc_jax import main, settings
from tagsdc_jax.data import opening
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.data.world import grammar
from tagsdc_jax.runs import checking, setup
from tagsdc_jax.training import checkpoints
from tests import tiny

TRUE, OTHER = 'a small red circle north of a blue star', 'There is a RED star'


def _export(path, config):
  """Writes a checkpoint of a network with large random parameters."""
  config = setup.with_data_sizes(
    config, opening.open_split(config.data, 'test')
  )
  params = tiny.large_parameters(setup.make_model(config))
  about = {'phase': config.phase, 'update': 3}
  about['settings'] = settings.flatten(config)
  checkpoints.export(path, params, about)
  return path


@pytest.fixture(scope='module', name='run')
def _run(world_dir, tmp_path_factory):
  """A checkpoint of phase dc on the tiny world, 24 images."""
  config = tiny.make_settings('dc', world_dir, num_devices=1)
  return _export(tmp_path_factory.mktemp('check') / 'dc', config)


@pytest.fixture(scope='module', name='matcher')
def _matcher(run):
  return tagsdc.load(run)


@pytest.fixture(scope='module', name='photo_run')
def _photo_run(world_dir, tmp_path_factory):
  """A checkpoint on twelve photos of the world."""
  folder = tmp_path_factory.mktemp('photos')
  data = world.load_world('train', data_dir=world_dir, size='tiny')
  (folder / 'photos').mkdir()
  rows = ['image,caption']
  for image in range(12):
    picture = world.load_picture(
      'train', image, data_dir=world_dir, size='tiny'
    )
    picture.save(folder / 'photos' / f'{image}.png')
    rows.append(
      f'{image}.png,{data.captions[data.captions_of_image[image][0]].text}'
    )
  (folder / 'captions.csv').write_text('\n'.join(rows))
  (folder / 'vocab.txt').write_text('\n'.join(grammar.WORDS))
  words = ['prepare', folder / 'set', '--captions', folder / 'captions.csv']
  words += ['--vocabulary', folder / 'vocab.txt', '--phrases', 'words']
  words += ['--images', folder / 'photos', '--extractor', 'pixels']
  assert main.main([*map(str, words), '--test', '4']) == 0
  config = tiny.make_settings('tags', world_dir, num_devices=1)
  config = dataclasses.replace(
    config, data=settings.Data(source='prepared', root=str(folder / 'set'))
  )
  _export(folder / 'tags', config)
  return folder


def _check(capsys, *words):
  """Returns code, parsed standard output and standard error."""
  try:
    code = main.main(['check', *map(str, words)])
  except SystemExit as stop:  # argparse ends the process itself.
    code = stop.code
  shown = capsys.readouterr()
  return code, [json.loads(x) for x in shown.out.splitlines()], shown.err


def _as_line(image, caption, one):
  """Returns what is written of a result of the API."""
  return {
    'image': image,
    'caption': caption,
    'score': pytest.approx(one.score, abs=2e-6),
    'probability': pytest.approx(one.probability, abs=2e-6),
    'words': [
      {
        'text': word.text,
        'replaced': pytest.approx(word.replaced, abs=2e-6),
        'suggestion': word.suggestion,
        'is_corrected': word.is_corrected,
        'is_piece': False,
      }
      for word in one.words
    ],
    'corrected': one.corrected,
    'corrected_score': one.corrected_score
    and pytest.approx(one.corrected_score, abs=2e-6),
  }


def test_captions_of_an_image(run, matcher, capsys):
  flags = ('--caption', TRUE, '--caption', OTHER)
  code, lines, said = _check(capsys, run, '--image', 'test-00003', *flags)
  assert code == 0 and not said
  expected = matcher.check([TRUE, OTHER], 3)
  assert lines == [
    _as_line('test-00003', text, one)
    for text, one in zip((TRUE, OTHER), expected, strict=True)
  ]
  assert any(one.corrected_score is not None for one in expected)
  by_number = _check(capsys, run, '--image', '3', *flags)[1]
  assert [x['score'] for x in by_number] == [x['score'] for x in lines]
  other = _check(capsys, run, '--image', '4', *flags)[1]
  assert [x['score'] for x in other] != [x['score'] for x in lines]
  split = _check(capsys, run, '--image', '3', '--split', 'validation', *flags)[
    1
  ]
  assert [x['score'] for x in split] != [x['score'] for x in lines]


def test_the_corrected_score_is_that_of_the_correction(matcher):
  checked = matcher.check(range(30), np.arange(30) % 24)
  corrected = [one for one in checked if one.corrected_score is not None]
  assert len(corrected) > 5
  for place, one in enumerate(checked):
    assert one.score == pytest.approx(
      matcher.score(place, place % 24)[0, 0], rel=1e-4, abs=1e-5
    )
    if one.corrected_score is None:
      assert one.corrected == one.text
      continue
    again = matcher.score(one.corrected, place % 24)[0, 0]
    assert one.corrected_score == pytest.approx(again, rel=1e-4, abs=1e-5)
    assert one.corrected.split() == [
      word.suggestion if word.is_corrected else word.text for word in one.words
    ]


@pytest.mark.parametrize('kind', ['csv', 'jsonl'])
def test_a_file(kind, run, matcher, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(checking, 'BATCH', 4)
  captions = matcher.data.captions
  pairs = [(f'test-{i:05d}', captions[5 * i].text) for i in range(9)]
  pairs[2] = '7', OTHER
  wrong = {
    1: ('test-99999', TRUE),
    3: ('0', 'a red banana'),
    5: ('0', ' '),
    6: ('0', 'a ' * 31),
  }
  pairs = [wrong.get(i, pair) for i, pair in enumerate(pairs)]
  path = tmp_path / f'pairs.{kind}'
  path.write_text(
    'caption,split,image\n' + ''.join(f'{c},x,{i}\n' for i, c in pairs)
    if kind == 'csv'
    else ''.join(
      json.dumps({'caption': c, 'image': int(i) if len(i) == 1 else i}) + '\n'
      for i, c in pairs
    ),
    'utf-8',
  )
  out = tmp_path / 'out.jsonl'
  code, lines, said = _check(capsys, run, '--file', path, '--json', out)
  assert code == 0 and not lines
  assert said.count('\n') == 1
  assert f'{path}: 4 of 9 pairs could not be checked' in said
  assert 'the first: an image of world/test must be a number' in said
  written = [json.loads(x) for x in out.read_text('utf-8').splitlines()]
  assert [(x['image'], x['caption']) for x in written] == pairs
  failed = {i: x['error'] for i, x in enumerate(written) if 'error' in x}
  assert failed.keys() == wrong.keys()
  assert "got 'test-99999'; nor is it the path of a photo" in failed[1]
  assert "no word 'banana'" in failed[3]
  assert 'at least one word' in failed[5] and 'at most 30 tokens' in failed[6]
  for line, (image, caption) in zip(written, pairs, strict=True):
    if 'error' not in line:
      [one] = matcher.check(caption, image if len(image) > 1 else int(image))
      assert line['score'] == pytest.approx(one.score, rel=1e-4, abs=1e-5)
      assert [x['text'] for x in line['words']] == [x.text for x in one.words]
  # The same to a pipe.
  assert _check(capsys, run, '--file', path)[1] == written


def test_nothing_of_a_file_can_be_checked(run, tmp_path, capsys):
  path = tmp_path / 'pairs.csv'
  path.write_text('image,caption\nx,a star\ny,a star\n')
  code, lines, said = _check(capsys, run, '--file', path)
  assert code == 2 and [x['image'] for x in lines] == ['x', 'y']
  assert 'none of its 2 pairs could be checked; the first: an image' in said
  assert said.count('\n') == 1


def test_a_terminal_shows_a_table(run, capsys, monkeypatch):
  monkeypatch.setattr('sys.stdout.isatty', lambda: True, raising=False)
  monkeypatch.setenv('NO_COLOR', '1')
  monkeypatch.setenv('COLUMNS', '100')
  words = ['check', str(run), '--image', '3', '--caption', TRUE]
  assert main.main(words) == 0
  shown = capsys.readouterr().out
  assert shown.startswith('\x1b[3mworld/test, dc, update 3')
  assert 'probability that each is wrong, %' in shown
  assert ' % │' in shown


def test_stage_1_has_scores_only(photo_run, capsys):
  run = photo_run / 'tags'
  data = opening.open_split(tagsdc.load(run).settings.data, 'test')
  name = data.image_ids[1]
  flags = ('--caption', TRUE, '--caption', OTHER)
  code, lines, said = _check(capsys, run, '--image', name, *flags)
  assert code == 0
  assert said == (
    f'{run} was trained in phase tags, which has no word heads: scores only; '
    'words and corrections need a run of phase dc\n'
  )
  assert all(
    list(x) == ['image', 'caption', 'score', 'probability'] for x in lines
  )
  # A photo has the regions of the image that was prepared from it.
  photo = photo_run / 'photos' / name
  _, again, _ = _check(capsys, run, '--image', photo, *flags)
  assert [x['score'] for x in again] == [x['score'] for x in lines]
  others = [f'{i}.png' for i in range(12) if f'{i}.png' not in data.image_ids]
  photo = photo_run / 'photos' / others[0]
  code, other, _ = _check(capsys, run, '--image', photo, *flags)
  assert code == 0 and other[0]['score'] != lines[0]['score']


def test_photos_and_images_of_a_file(photo_run, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(checking, 'BATCH', 3)
  run = photo_run / 'tags'
  data = opening.open_split(tagsdc.load(run).settings.data, 'test')
  photo = lambda name: str(photo_run / 'photos' / name)
  (tmp_path / 'broken.png').write_bytes(b'\x89PNG')
  names = [
    data.image_ids[0],
    photo(data.image_ids[1]),
    str(tmp_path / 'broken.png'),
    photo(data.image_ids[2]),
    photo(data.image_ids[0]),
  ]
  path = tmp_path / 'pairs.csv'
  path.write_text('image,caption\n' + ''.join(f'{n},{TRUE}\n' for n in names))
  code, lines, said = _check(capsys, run, '--file', path)
  assert code == 0 and '1 of 5 pairs could not be checked' in said
  assert 'broken.png cannot be read as a photo' in lines[2]['error']
  scores = tagsdc.load(run).score(TRUE, [0, 1, 2])[0]
  assert [x.get('score') for x in lines] == [
    pytest.approx(scores[0], rel=1e-4),
    pytest.approx(scores[1], rel=1e-4),
    None,
    pytest.approx(scores[2], rel=1e-4),
    pytest.approx(scores[0], rel=1e-4),
  ]


def test_data_that_was_moved(photo_run, tmp_path, capsys):
  shutil.copytree(photo_run / 'set', tmp_path / 'moved')
  flags = ('--image', '0', '--caption', TRUE)
  shutil.move(photo_run / 'set', photo_run / 'gone')
  try:
    code, _, said = _check(capsys, photo_run / 'tags', *flags)
    assert code == 2 and 'pass --data-root FOLDER' in said
    moved = ('--data-root', tmp_path / 'moved')
    assert _check(capsys, photo_run / 'tags', *flags, *moved)[0] == 0
  finally:
    shutil.move(photo_run / 'gone', photo_run / 'set')


@pytest.mark.parametrize(
  'words, message',
  [
    ([], 'pass --image and --caption, or --file with a table'),
    (['--image', '0'], 'pass --image and --caption'),
    (
      ['--image', '0', '--image', '1', '--caption', TRUE],
      'must be given once, got 2',
    ),
    (['--caption', TRUE], 'pass --image and --caption'),
    (['--image', '0', '--file', 'good.csv'], 'leave out --image and'),
    (['--image', 'test-0003', '--caption', TRUE], "or 'test-00003', got 't"),
    (['--image', '24', '--caption', TRUE], 'from 0 to 23, or a name'),
    (['--image', 'gs://b/x.jpg', '--caption', TRUE], "got 'gs://b/x.jpg'"),
    (['--image', 'good.csv', '--caption', TRUE], 'data.source=world does not'),
    (['--image', '0', '--caption', ''], 'at least one word'),
    (['--image', '0', '--caption', TRUE, '--caption', 'x'], "no word 'x'"),
    (['--image', '0', '--caption', '\udcff'], 'must be Unicode text, got '),
    (['--image', '0', '--caption', 'a ' * 40], 'at most 30 tokens'),
    (['--file', 'no.csv'], 'no.csv must be a file, but is missing'),
    (['--file', '.'], '. must be a file, but is a folder'),
    (['--file', 'empty.csv'], 'empty.csv is empty'),
    (['--file', 'bare.csv'], 'bare.csv has no pairs of image and caption'),
    (['--file', 'columns.csv'], 'the first line must name the columns, one'),
    (['--file', 'latin.csv'], 'latin.csv: expected UTF-8 text, got byte 0xe9'),
    (['--file', 'short.csv'], 'short.csv: line 3: expected 2 fields'),
    (['--file', 'several.csv'], 'expected one column of captions, got caption'),
    (['--file', 'cut.jsonl'], 'cut.jsonl: line 2 must be a JSON object, got'),
    (['--file', 'list.jsonl'], 'list.jsonl: line 2: expected an object with'),
    (['--file', 'key.jsonl'], 'key.jsonl: line 1: expected an object with a '),
    (['--file', 'good.csv', '--json', 'good.csv'], 'are the same file'),
    (['--file', 'good.csv', '--json', 'no/x'], 'folder no is missing'),
    (['--split', 'dev'], 'invalid choice'),
  ],
)
def test_bad_input_is_one_line(
  words, message, run, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  for name, content in {
    'good.csv': b'image,caption\n0,a star\n',
    'empty.csv': b'\n',
    'bare.csv': b'image,caption\n\n',
    'columns.csv': b'image,foil\n0,a star\n',
    'latin.csv': 'image,caption\n0,a caf\xe9\n'.encode('latin-1'),
    'short.csv': b'image,caption\n0,a star\n0\n',
    'several.csv': b'image,caption_0,caption_1\n0,a star,a star\n',
    'cut.jsonl': b'{"image": 0, "caption": "a star"}\n{"image": 0,\n',
    'list.jsonl': b'{"image": 0, "caption": "a star"}\n[1]\n',
    'key.jsonl': b'{"image": 0, "foil": "a star"}\n',
  }.items():
    Path(name).write_bytes(content)
  before = sorted(Path('.').iterdir())
  code, lines, said = _check(capsys, run, *words)
  assert code == 2 and not lines
  assert message in said and said.count('\n') == 1
  assert said.startswith('tagsdc check: ')
  assert sorted(Path('.').iterdir()) == before


@pytest.mark.parametrize('model', ['no/run', 'shipped:none'])
def test_no_such_run(model, capsys):
  code, _, said = _check(capsys, model, '--image', '0', '--caption', TRUE)
  assert code == 2 and model in said and said.count('\n') == 1


def test_json_to_a_stream(run, capfd):
  words = ['--image', '0', '--caption', 'a red star', '--json', '/dev/stdout']
  assert main.main(['check', str(run), *words]) == 0
  assert json.loads(capfd.readouterr().out)['caption'] == 'a red star'
