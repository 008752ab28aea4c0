"""The recorder of the release, as far as it goes without torch and release."""

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tagsdc_jax.comparison import recordings

_FOLDER = Path(__file__).parents[2] / 'launch' / 'record_release'
sys.path.insert(0, str(_FOLDER))

from recorder import (  # noqa: E402  (found by the line above)
  arguments,
  descriptions,
  manifest,
  problems,
  progress,
  safetensors_file,
  watching,
)

_SOURCES = sorted(_FOLDER.rglob('*.py'))
_SIZES = {
  'vocab_size': 30,
  'hidden_size': 8,
  'num_hidden_layers': 1,
  'num_attention_heads': 2,
  'intermediate_size': 16,
  'max_position_embeddings': 16,
  'type_vocab_size': 2,
  'img_dim': 4,
}
_IDS = {'PAD': 0, 'UNK': 1, 'CLS': 2, 'SEP': 3, 'MASK': 4, 'v_range': [5, 30]}


@pytest.fixture(name='words')
def _words(tmp_path: Path) -> dict[str, str]:
  """Returns options whose paths exist, as empty files."""
  for name in (
    'release/model/nsgd.py',
    'release/model/nsgd2.py',
    'release/data/pnsgd.py',
    'release/utils/itm_eval.py',
    'config.json',
    'weights.pt',
    'text/data.mdb',
    'text/meta.json',
    'text/id2len.json',
    'text/txt2img.json',
    'text/img2txts.json',
    'images/feat_th0.2_max100_min10/data.mdb',
    'images/nbb_th0.2_max100_min10.json',
  ):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return {
    '--release': str(tmp_path / 'release'),
    '--model-config': str(tmp_path / 'config.json'),
    '--checkpoint': str(tmp_path / 'weights.pt'),
    '--stage': '1',
    '--txt-db': str(tmp_path / 'text'),
    '--img-db': str(tmp_path / 'images'),
    '--out': str(tmp_path / 'out'),
  }


def _parse(words: dict[str, str], **changes: str):
  changed = words | {
    f'--{key.replace("_", "-")}': value for key, value in changes.items()
  }
  return arguments.parse([word for pair in changed.items() for word in pair])


def test_defaults_are_those_of_the_release(words):
  options = _parse(words)
  assert (
    options.negative_size,
    options.hard_size,
    options.mlm_samples,
    options.nsgd_samples,
    options.max_txt_len,
  ) == (399, 31, 20, 20, 60)
  assert (options.temperature, options.margin) == (1.5, 0.2)
  assert arguments.image_names(options) == (
    'feat_th0.2_max100_min10',
    'nbb_th0.2_max100_min10.json',
  )


def test_names_of_a_fixed_number_of_boxes(words):
  options = _parse(words)
  options.conf_th, options.num_bb, options.compressed_db = -1.0, 36, True
  assert arguments.image_names(options) == ('feat_numbb36_compressed', '')


@pytest.mark.parametrize(
  'changes, said',
  [
    (
      {'release': '/nowhere'},
      '--release /nowhere: it does not contain model/nsgd.py',
    ),
    ({'checkpoint': '/no.pt'}, '--checkpoint /no.pt: no such file'),
    ({'txt_db': '/nowhere'}, '--txt-db /nowhere: it does not contain data.mdb'),
    ({'conf_th': '0.3'}, 'does not contain feat_th0.3_max100_min10/data.mdb'),
    ({'hard_size': '399'}, r'less than --negative-size \(399\).*, got 399'),
    ({'mlm_samples': '1'}, r'x --nsgd-samples \(20\), got 31'),
    ({'nsgd_samples': '0'}, '--nsgd-samples must be at least 1, got 0'),
    ({'eval_images': '9'}, '--eval-images must be at least 10, got 9'),
    ({'temperature': '0'}, r'--temperature must be above 0, got 0\.0'),
  ],
)
def test_wrong_options_are_named(words, changes, said):
  with pytest.raises(problems.Problem, match=said):
    _parse(words, **changes)


def test_no_evaluation_and_captions_by_name(words):
  options = _parse(words, eval_images='0')
  assert options.eval_images == 0
  given = [word for pair in words.items() for word in pair]
  assert arguments.parse([*given, '--captions', '7', '9']).captions == [
    '7',
    '9',
  ]
  with pytest.raises(problems.Problem, match='an id occurs twice'):
    arguments.parse([*given, '--captions', '7', '7'])


def test_a_folder_with_something_in_it_is_not_written_to(words):
  with pytest.raises(problems.Problem, match='exists and is not empty'):
    _parse(words, out=words['--txt-db'])


def _run(*given: str) -> subprocess.CompletedProcess:
  # -S: as if nothing were installed.
  return subprocess.run(
    [sys.executable, '-S', str(_FOLDER), *given],
    capture_output=True,
    text=True,
    check=False,
  )


def test_the_command_helps_and_refuses_without_torch_and_numpy(words):
  helped = _run('--help')
  assert helped.returncode == 0
  assert 'example' in helped.stdout and '--checkpoint' in helped.stdout
  given = [word for pair in words.items() for word in pair]
  refused = _run(*given, '--hard-size', '0')
  assert (refused.returncode, refused.stderr) == (
    2,
    'record_release: --hard-size must be at least 1, got 0\n',
  )
  without = _run(*given)
  assert without.returncode == 2
  assert without.stderr.startswith('record_release: No module named ')
  assert without.stderr.count('\n') == 1


def test_sources_are_python_3_6():
  assert len(_SOURCES) > 10
  for path in _SOURCES:
    ast.parse(path.read_text('utf-8'), str(path), feature_version=(3, 6))
  with pytest.raises(SyntaxError):
    ast.parse('(x := 1)', feature_version=(3, 6))


def test_sources_are_short_and_import_what_the_release_needs():
  allowed = {'numpy', 'torch', 'lmdb', 'recorder', *sys.stdlib_module_names}
  for path in _SOURCES:
    text = path.read_text('utf-8')
    assert len(text.splitlines()) <= 300, path
    for node in ast.walk(ast.parse(text)):
      names = (
        [alias.name for alias in node.names]
        if isinstance(node, ast.Import)
        else [node.module or '']
        if isinstance(node, ast.ImportFrom)
        else []
      )
      assert {name.split('.')[0] for name in names} <= allowed, path


def test_safetensors_as_the_package_reads_them(tmp_path):
  tensors = {
    'b': np.arange(6, dtype=np.float32).reshape(2, 3).T,
    'scalar': np.float64(0.1) * np.ones(()),
    'flag': np.array([True, False]),
    'a': np.array([-1, 2**40]),
    'half': np.array([0.5], np.float16),
    'none': np.zeros((0, 4), np.float32),
  }
  path = tmp_path / 'x.safetensors'
  safetensors_file.write(str(path), tensors)
  read = load_file(path)
  assert set(read) == set(tensors)
  for name, array in tensors.items():
    assert read[name].dtype == array.dtype
    np.testing.assert_array_equal(read[name], array)


def test_safetensors_byte_by_byte(tmp_path):
  path = tmp_path / 'x.safetensors'
  safetensors_file.write(str(path), {'w': np.array([1.0, -2.0], np.float32)})
  content = path.read_bytes()
  (size,) = struct.unpack('<Q', content[:8])
  assert size % 8 == 0
  assert json.loads(content[8 : 8 + size]) == {
    '__metadata__': {'format': 'pt'},
    'w': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]},
  }
  assert content[8 + size :] == bytes.fromhex('0000803f 000000c0')
  with pytest.raises(KeyError):
    safetensors_file.write(str(path), {'w': np.array([1j])})


def test_calls_are_logged_and_the_original_comes_back():
  class Base:
    def double(self, x):
      return 2 * x

  class Child(Base):
    pass

  child = Child()
  with (
    watching.logged(Child, 'double') as on_class,
    watching.logged(child, 'double') as on_object,
  ):
    assert child.double(3) == 6
    assert Base().double(4) == 8
  assert [call.result for call in on_class] == [6]
  assert on_object == [((3,), {}, 6)]
  child.double(5)
  assert len(on_class) == 1
  assert 'double' not in vars(Child) and not vars(child)
  with (
    pytest.raises(ZeroDivisionError),
    watching.replaced(
      child, 'double', lambda original: lambda x: original(x) + 1
    ),
  ):
    assert child.double(1) == 3
    raise ZeroDivisionError
  assert child.double(1) == 2


def test_progress_says_how_long_it_will_take(capsys):
  seconds = iter([0.0, 5.0, 20.0, 25.0, 130.0])
  bar = progress.Progress('pass', 1000, clock=lambda: next(seconds))
  for _ in range(3):
    bar.advance(100)
  bar.close()
  assert capsys.readouterr().err.splitlines() == [
    'pass: 200 of 1,000 rows, 1 min 20 s left',
    'pass: 2 min 10 s',
  ]


def test_tolerances_grow_with_the_rounding():
  small = manifest.tolerances({'a': 4e-6, 'b': 1e-7})
  assert small['forward.npz'] == '1.0e-05 (f32 keys), 1e-10 (f64/ keys)'
  large = manifest.tolerances({'a': 1e-7, 'b': 3e-5})
  assert large['forward.npz'].startswith('6.0e-05 ')
  assert (large['losses'], large['raw scores']) == ('6.0e-05', '1.2e-04')


def test_a_folder_that_the_comparison_opens(tmp_path):
  arrays = {
    'hidden_11': np.ones((2, 3, 8), np.float32),
    'f64/hidden_11': np.ones((2, 3, 8)),
    'img_masks': np.array([[True, False]]),
  }
  written = manifest.Manifest(
    str(tmp_path), config='recorded', seed=3, model=_SIZES, special_ids=_IDS
  )
  written.add('forward.npz', arrays, 'a forward pass', checkpoint='some')
  written.add_others(['model_config.json'], 'sizes')
  written.write()

  opened = recordings.open_folder(tmp_path)
  assert opened.model().num_layers == 1 and opened.vocabulary().mask == 4
  assert opened.manifest['other_files'] == {'model_config.json': 'sizes'}
  entry = opened.entry('forward.npz')
  assert entry['checkpoint'] == 'some' and entry['semantics']
  assert entry['keys']['hidden_11'] == {
    'shape': [2, 3, 8],
    'dtype': 'float32',
    'desc': '[B,S,H] output of encoder layer k, from 0',
  }
  assert entry['keys']['img_masks']['dtype'] == 'bool'
  assert 'float64' in entry['keys']['f64/hidden_11']['desc']
  for key, array in opened.arrays('forward.npz').items():
    np.testing.assert_array_equal(array, arrays[key])


def test_arrays_that_no_recording_has_have_no_description():
  for file_name, key in (
    ('forward.npz', 'hidden_x'),
    ('hard_negatives.npz', 't/pooled'),
  ):
    with pytest.raises(KeyError):
      descriptions.describe(file_name, key)
