"""Tests of files of weights, good and bad."""

import builtins
import collections
import os
import pickle
import re
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tagsdc_jax import errors
from tagsdc_jax.conversion import reading
from tests.golden import reading as golden


class _Code:
  """What a pickle can do to whoever reads it."""

  def __init__(self, path):
    self._path = str(path)

  def __reduce__(self):
    return builtins.open, (self._path, 'w')


def _torch():
  return pytest.importorskip('torch')


@pytest.fixture
def arrays():
  rng = np.random.default_rng(0)
  return {
    'a.weight': rng.normal(size=(3, 4)).astype(np.float32),
    'a.bias': np.array([-0.0, np.inf, 1e-45], np.float32),
  }


@pytest.mark.parametrize('ending', ['.safetensors', '.pt', '.pth', '.bin'])
def test_what_is_written_is_read(arrays, ending, tmp_path):
  if ending in reading.TORCH:
    _torch()
  arrays['copy'] = arrays['a.weight']
  path = tmp_path / f'weights{ending}'
  path.touch(mode=0o640)
  reading.write(path, ending, arrays)
  assert path.stat().st_mode & 0o777 == 0o640
  read = reading.read(path)
  assert read.keys() == arrays.keys()
  for name, array in arrays.items():
    assert read[name].tobytes() == array.tobytes()
    assert read[name].dtype == np.float32 and read[name].shape == array.shape


def test_torch_files_are_for_old_ones_too_and_keep_ties(arrays, tmp_path):
  torch = _torch()
  arrays['copy'] = arrays['a.weight']
  path = tmp_path / 'weights.pt'
  path.touch()
  reading.write(path, '.pt', arrays)
  assert not zipfile.is_zipfile(path)  # Torch 1.1 does not read those.
  loaded = torch.load(path, weights_only=True)
  assert loaded['copy'].data_ptr() == loaded['a.weight'].data_ptr()


@pytest.mark.parametrize('is_zip', [True, False])
def test_torch_files_of_every_kind(is_zip, tmp_path):
  torch = _torch()
  path = tmp_path / 'weights.pt'
  values = torch.tensor([[1 / 3, -2.0], [0.5, 1e-8]])
  content = collections.OrderedDict(
    plain=values,
    parameter=torch.nn.Parameter(values),
    view=values[1:].T,
    half=values.half(),
    brain=values.bfloat16(),
    double=values.double(),
  )
  torch.save(content, path, _use_new_zipfile_serialization=is_zip)
  read = reading.read(path)
  numbers = values.numpy()
  np.testing.assert_array_equal(read['plain'], numbers)
  np.testing.assert_array_equal(read['parameter'], numbers)
  np.testing.assert_array_equal(read['view'], numbers[1:].T)
  for name, dtype in (
    ('half', np.float16),
    ('brain', ml_dtypes.bfloat16),
    ('double', np.float64),
  ):
    assert read[name].dtype == dtype
    np.testing.assert_array_equal(read[name], numbers.astype(dtype))


def test_safetensors_keep_their_types(tmp_path):
  arrays = {
    'half': np.array([1 / 3], np.float16),
    'brain': np.array([1 / 3], ml_dtypes.bfloat16),
    'double': np.array([1 / 3]),
    'whole': np.array([3]),
  }
  path = tmp_path / 'weights.safetensors'
  safetensors_numpy.save_file(arrays, path)
  read = reading.read(path)
  assert {name: x.dtype for name, x in read.items()} == {
    name: x.dtype for name, x in arrays.items()
  }
  assert read['brain'][0] == 171 / 512  # Of 1/3 in bfloat16.


def test_recorded_files_of_both_kinds_agree():
  _torch()
  one = reading.read(golden.path_of('checkpoint_stage1.pt'))
  other = reading.read(golden.path_of('checkpoint_stage1.safetensors'))
  assert one.keys() == other.keys() and len(one) == 76
  for name, array in one.items():
    assert array.tobytes() == other[name].tobytes()


@pytest.mark.parametrize('how', ['torch', 'legacy', 'pickle 2', 'pickle 4'])
def test_code_is_refused_and_not_run(how, tmp_path):
  torch = _torch()
  path, trace = tmp_path / 'weights.pt', tmp_path / 'trace'
  content = {'a': torch.ones(2), 'b': _Code(trace)}
  if how.startswith('pickle'):
    path.write_bytes(pickle.dumps({'b': _Code(trace)}, protocol=int(how[-1])))
  else:
    torch.save(content, path, _use_new_zipfile_serialization=how == 'torch')
  with pytest.raises(errors.UserError, match='weights.pt is rejected: ') as e:
    reading.read(path)
  if how != 'pickle 4':  # Torch gives up before it comes to a name.
    assert re.search(r'reading it would run _?io\.open', str(e.value))
  assert '\n' not in str(e.value) and not trace.exists()
  # And the file does what it is refused for.
  if how.startswith('pickle'):
    pickle.loads(path.read_bytes())['b'].close()
    assert trace.exists()


def test_other_content_is_named(tmp_path):
  torch = _torch()
  path = tmp_path / 'weights.pt'
  for content, message in [
    ({'step': 3, 'optimizer': {}}, "'step' is int; 'optimizer' is dict; sa"),
    ({'a': torch.ones(2).to_sparse()}, "'a' is torch.sparse_coo"),
    ({3: torch.ones(2)}, '3 is torch.strided'),
    ([torch.ones(2)], 'got list'),
    (torch.ones(2), 'got Tensor'),
    ({'a': torch.ones(2).to(torch.float8_e4m3fn)}, 'does not exist in numpy'),
  ]:
    torch.save(content, path)
    with pytest.raises(errors.UserError, match=message):
      reading.read(path)


def test_the_other_format_is_named(tmp_path):
  torch = _torch()
  for is_zip in (True, False):
    torch.save(
      {'a': torch.ones(1)},
      tmp_path / 'a.safetensors',
      _use_new_zipfile_serialization=is_zip,
    )
    with pytest.raises(
      errors.UserError,
      match='a.safetensors was written by '
      'torch.save, .* rename it to end in .pt',
    ):
      reading.read(tmp_path / 'a.safetensors')
  safetensors_numpy.save_file({'a': np.ones(1)}, tmp_path / 'a.bin')
  with pytest.raises(
    errors.UserError,
    match='a.bin is a safetensors file, .* rename it to end in .safetensors',
  ):
    reading.read(tmp_path / 'a.bin')


def test_a_state_dict_among_other_things_is_found(tmp_path):
  torch = _torch()
  path = tmp_path / 'weights.pt'
  weights = {'module.a': torch.ones(2), 'module.b': torch.zeros(1)}
  for name in ('state_dict', 'model_state_dict', 'model'):
    torch.save({name: weights, 'epoch': 3, 'optimizer': {'state': {}}}, path)
    assert reading.read(path).keys() == {f'{name}.module.a', f'{name}.module.b'}
  torch.save({'model': weights, 'state_dict': weights}, path)
  with pytest.raises(errors.UserError, match="'model' is dict; 'state_dict'"):
    reading.read(path)


@pytest.mark.parametrize('ending', ['.pt', '.safetensors'])
@pytest.mark.parametrize(
  'damage, message',
  [
    (
      lambda data: data[: len(data) // 2],
      'cannot be read as a file of weights',
    ),
    (lambda data: data[:-9], 'cannot be read as a file of weights'),
    (lambda data: data[:20], 'cannot be read as a file of weights'),
    (lambda data: b'', 'is empty; copy'),
    (lambda data: b'hel\x01o', 'is refused|cannot be read as a file'),
    (lambda data: b'hello', "is text that begins with 'hello'; download"),
    (lambda data: b'<html>404</html>', 'is a web page; download'),
    (
      lambda data: b'version https://git-lfs.github.com/spec/v1\noid sha256:0',
      'is a Git LFS pointer, not the file itself; run `git lfs pull`',
    ),
  ],
)
def test_damaged_files(ending, damage, message, tmp_path):
  if ending == '.pt':
    _torch()
  data = golden.path_of(f'checkpoint_stage1{ending}').read_bytes()
  path = tmp_path / f'weights{ending}'
  path.write_bytes(damage(data))
  with pytest.raises(errors.UserError, match=message) as error:
    reading.read(path)
  assert '\n' not in str(error.value) and len(str(error.value)) < 350


def test_missing_file_and_other_names(tmp_path):
  with pytest.raises(
    errors.UserError, match='a.safetensors cannot be read: No such file'
  ):
    reading.read(tmp_path / 'a.safetensors')
  with pytest.raises(errors.UserError, match='must end in .pt, .*got .npz'):
    reading.read(tmp_path / 'a.npz')


def test_without_torch_the_extra_is_named(arrays, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'torch', None)
  path = golden.path_of('checkpoint_stage1.pt')
  for call in (reading.read, reading.check_name):
    with pytest.raises(
      errors.UserError,
      match=r'checkpoint_stage1.pt needs '
      r'PyTorch, .* pip install "tagsdc_jax\[torch\]"',
    ):
      call(path)
  assert reading.read(golden.path_of('checkpoint_stage1.safetensors'))
  path = tmp_path / 'a.safetensors'
  path.touch()
  reading.write(path, '.safetensors', arrays)
  assert os.path.getsize(path)


def test_torch_that_can_be_tricked_is_refused(monkeypatch):
  torch = _torch()
  for version, is_refused in (
    ('2.5.1+cu121', True),
    ('1.13.0', True),
    ('2.6.0', False),
    ('2.13.0+cpu', False),
  ):
    monkeypatch.setattr(torch, '__version__', version)
    if is_refused:
      with pytest.raises(errors.UserError, match='needs torch 2.6 or newer'):
        reading.check_name(golden.path_of('checkpoint_stage1.pt'))
    else:
      reading.check_name(golden.path_of('checkpoint_stage1.pt'))
