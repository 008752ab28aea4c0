"""`tagsdc study`: what it refuses, in one line and before any training."""

import pytest

from tagsdc_jax import main


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--config.seed=3'], 'seed is set by the study: --seeds N trains with'),
    (
      ['--seeds', '2', '--part', '3/4'],
      '--part 3/4 has nothing to do: --seeds 2 can be divided into at most 2',
    ),
    (['--phases', 'nothing'], 'no config is named nothing_tags or nothing_dc'),
    (['--phases', 'flickr30k_base'], 'name the weights that stage 1 starts'),
    (['--judge', '/nowhere'], '/nowhere'),
  ],
)
def test_refused(arguments, message, tmp_path, capsys):
  command = ['study', 'faithfulness', '--out', str(tmp_path / 'out')]
  assert main.main([*command, *arguments]) == 2
  shown = capsys.readouterr().err
  assert shown.startswith('tagsdc study: ') and shown.count('\n') == 1
  assert message in shown
  assert not list(tmp_path.rglob('*.json'))
