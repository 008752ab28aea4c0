"""What the documentation names is there: numbers, links, files, functions."""

import ast
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import settings
from tagsdc_jax.losses import triplet, words
from tagsdc_jax.negatives import masking

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
_QUIRKS = ROOT / 'docs' / 'quirks.md'


def _anchors(page):
  """The ids of a page, those that its headings get on GitHub included."""
  text = page.read_text('utf-8')
  headings = re.findall(r'^#+ (.*)$', text, re.M)
  return set(re.findall(r'<a id="([^"]+)">', text)) | {
      re.sub(r'[^\w -]', '', heading).strip().lower().replace(' ', '-')
      for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
  links = re.findall(r'\]\(([^)\s]+)\)', page.read_text('utf-8'))
  wrong = []
  for link in links:
    if re.match(r'[a-z]+://', link):
      continue
    path, _, anchor = link.partition('#')
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or (anchor and anchor not in _anchors(target)):
      wrong.append(link)
  assert not wrong


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_files_and_functions_that_are_named_exist(page):
  found = re.findall(r'`(tagsdc_jax/[\w/]+\.py)(?::(\w+))?`',
                     page.read_text('utf-8'))
  wrong = []
  for path, name in found:
    file = ROOT / path
    names = set() if not file.is_file() else {
        node.name for node in ast.walk(ast.parse(file.read_text('utf-8')))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    if not file.is_file() or (name and name not in names):
      wrong.append(f'{path}:{name}')
  assert not wrong


def test_quirks_that_the_code_cites_are_described():
  numbers = [int(x) for x in re.findall(r'<a id="(\d+)">',
                                        _QUIRKS.read_text('utf-8'))]
  assert numbers == list(range(1, 61))
  cited = {int(number) for folder in ('tagsdc_jax', 'tests', 'launch')
           for path in (ROOT / folder).rglob('*.py')
           for number in re.findall(r'docs/quirks\.md, (\d+)',
                                    path.read_text('utf-8'))}
  assert cited and cited <= set(numbers)


def test_settings_that_are_named_exist():
  groups = '|'.join(sorted({name.partition('.')[0] for name in settings.ALL
                            if '.' in name}))
  for page in PAGES:
    for name in re.findall(rf'`((?:{groups})\.[a-z_]+)`',
                           page.read_text('utf-8')):
      assert name in settings.ALL, f'{page.name}: {name}'


def test_the_worked_example():
  # a red ball, between [CLS] and [SEP]: {ball}, {red}, {red, ball}.
  counts = np.zeros((3, 5), np.int8)
  counts[0, 3] = counts[1, 2] = counts[2, 2:4] = 1
  np.testing.assert_allclose(
      masking.phrase_probs(jnp.asarray(counts), 0.15), [0.075] * 3, rtol=1e-6)
  losses = triplet.triplet_loss(jnp.array([0.7]), jnp.array([0.6, 0.4]),
                                margin=0.2)
  np.testing.assert_allclose(
      words.masked_mean(losses, jnp.ones(2, bool), 0), 0.05, rtol=1e-5)
