"""Four CPU devices, quick compilation, and no silent broadcasting of ranks."""

import getpass
import os
import tempfile
from importlib import metadata
from pathlib import Path

os.environ['JAX_PLATFORMS'] = 'cpu'
# Each of the last two halves the compile time, most of what these tests take.
# XLA ends the process for a flag that it does not know, so the second is for
# the versions that it was tried with.
os.environ['XLA_FLAGS'] = ' '.join(
  [
    os.environ.get('XLA_FLAGS', ''),
    '--xla_force_host_platform_device_count=4',
    '--xla_backend_optimization_level=0',
    *(
      ['--xla_cpu_use_fusion_emitters=false']
      if metadata.version('jaxlib').startswith('0.10.')
      else []
    ),
  ]
).strip()

import jax  # noqa: E402  (reads the variables above)
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

from tests import shapes  # noqa: E402

jaxtyping.install_import_hook(shapes.ROOMS, 'tests.shapes.check')

from tagsdc_jax.data.world import dataset as world  # noqa: E402
from tagsdc_jax.runtime import programs  # noqa: E402
from tests.sharing import shared_updates  # noqa: E402, F401


def _cache_dir() -> str:
  root = os.environ.get('XDG_CACHE_HOME') or tempfile.gettempdir()
  return os.path.join(root, f'tagsdc_jax_tests_{getpass.getuser()}')


jax.config.update('jax_compilation_cache_dir', _cache_dir())
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
jax.config.update('jax_numpy_rank_promotion', 'raise')


# Files of more than ten seconds, the longest first: one that began last would
# leave the other process of launch/test.sh idle.
_LONG = (
  'comparison/noticing_training_test.py',
  'training/step_test.py',
  'runs/training_test.py',
  'api_test.py',
  'runtime/watchdog_test.py',
  'processes_test.py',
  'released/objective_test.py',
  'extending/negatives_and_losses_test.py',
  'engines/agree_test.py',
  'runs/released_run_test.py',
  'killing_test.py',
  'extending/data_source_test.py',
  'commands/evaluate_test.py',
  'commands/converted_run_test.py',
  'engines/packed/loss_and_grad_test.py',
  'shipped/world_pretrain_test.py',
  'negatives/mining_test.py',
  'launch/bench_test.py',
  'runs/converting_bert_test.py',
  'objectives/hard_negatives_test.py',
  'commands/main_test.py',
)


def pytest_collection_modifyitems(items):
  here = Path(__file__).parent
  places = {here / name: place for place, name in enumerate(_LONG)}
  items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope='session')
def world_dir(tmp_path_factory) -> str:
  """Folder that holds the tiny embedded world."""
  path = str(tmp_path_factory.mktemp('tiny_world'))
  world.load_world('train', data_dir=path, size='tiny')
  return path


@pytest.fixture(autouse=True)
def _few_programs():
  yield
  programs.drop_if_many()
