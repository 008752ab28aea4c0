"""The files that docs/extending.md shows are the ones that are tested."""

from pathlib import Path

import pytest

from tests.extending import conftest

_DOCS = Path(__file__).parents[2] / 'docs' / 'extending.md'


@pytest.mark.parametrize(
  'name',
  ['my_captions.py', 'my_losses.py', 'my_negatives.py', 'my_protocol.py'],
)
def test_what_is_shown_is_what_is_tested(name):
  code = (conftest.HERE / name).read_text('utf-8')
  assert f'```python\n{code}```\n' in _DOCS.read_text('utf-8')
  assert len(code.splitlines()) <= 40
