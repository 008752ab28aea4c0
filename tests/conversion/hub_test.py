"""Tests that models are found in folders, in the cache, and on the hub."""

import json

import huggingface_hub
import pytest

from tagsdc_jax import errors
from tagsdc_jax.conversion import hub
from tests.conversion import vision_folders as folders


def test_a_folder_is_itself(tmp_path):
  assert hub.model_folder(str(tmp_path)) == tmp_path


def test_paths_that_are_no_folder(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(errors.UserError, match='but is a file; pass its folder'):
    hub.model_folder(str(tmp_path / 'file'))
  with pytest.raises(errors.UserError, match='missing is missing; pass the'):
    hub.model_folder(str(tmp_path / 'missing'))


def test_a_cached_model_needs_no_network(tmp_path, monkeypatch):
  folders.write(tmp_path)
  calls = []

  def download(name, **options):
    calls.append((name, options.get('local_files_only')))
    return str(tmp_path)

  monkeypatch.setattr(huggingface_hub, 'snapshot_download', download)
  assert hub.model_folder('owner/model') == tmp_path
  assert calls == [('owner/model', True)]
  # A cache with the configuration only, as others leave it behind.
  (tmp_path / 'model.safetensors').unlink()
  assert hub.model_folder('owner/model') == tmp_path
  assert calls[1:] == [('owner/model', True), ('owner/model', None)]


def test_without_a_network_the_message_is_one_line(monkeypatch):
  def download(name, **options):
    raise OSError('no route to host.\nTry again')

  monkeypatch.setattr(huggingface_hub, 'snapshot_download', download)
  with pytest.raises(errors.UserError) as raised:
    hub.model_folder('owner/model')
  assert str(raised.value) == (
    'owner/model is neither a folder nor a model that could be downloaded (no '
    'route to host); without a network, pass the folder of a Hugging Face '
    'model, with config.json and model.safetensors'
  )


def test_pickles_are_refused_with_the_way_out(tmp_path):
  (tmp_path / 'pytorch_model.bin').touch()
  with pytest.raises(errors.UserError, match='a pickle.*save_pretrained'):
    hub.weight_files(tmp_path)
  (tmp_path / 'pytorch_model.bin').unlink()
  with pytest.raises(errors.UserError, match='has no model.safetensors; pass'):
    hub.weight_files(tmp_path)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('{', 'must be the JSON index'),
    ('[]', 'must be the JSON index'),
    (json.dumps({'weight_map': {'a': '../b'}}), "beside it, got '../b'"),
    (json.dumps({'weight_map': {'a': 3}}), 'beside it, got 3'),
  ],
)
def test_damaged_indices_are_refused(content, message, tmp_path):
  (tmp_path / 'model.safetensors.index.json').write_text(content, 'utf-8')
  with pytest.raises(errors.UserError, match=message):
    hub.weight_files(tmp_path)
