"""What docs/ and README.md say of the code, and what the code cites of them."""

import ast
import functools
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tagsdc_jax import main, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.data import phrases
from tagsdc_jax.losses import triplet, words
from tagsdc_jax.negatives import masking

_ROOT = Path(__file__).parents[1]
_PAGES = [_ROOT / 'README.md', *sorted((_ROOT / 'docs').glob('*.md'))]
_CODE = [
  path
  for folder in ('tagsdc_jax', 'tests', 'launch', 'configs')
  for path in sorted((_ROOT / folder).rglob('*.py'))
]
# Names of files that look like settings.
_FILES = ('data.mdb', 'negatives.jsonl')
_METHOD = _ROOT / 'docs' / 'method.md'
_CITATION = re.compile(r'docs/(quirks|method)\.md, (\d+)')
_PLACE = re.compile(r'`(tagsdc_jax/[\w/]+\.py)(?::(\w+))?`')
_LINK = re.compile(r'(?<!!)\[[^\]]*\]\(([^)\s]+)\)')
_FENCE = re.compile(r'^```.*?^```$', re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@functools.cache
def _read(path):
  return path.read_text('utf-8')


def _prose(path):
  return _FENCE.sub('', _read(path))


@functools.cache
def _anchors(path):
  """Anchors that stand in a page, and those that its headings make."""
  text = _prose(path)
  titles = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
  return set(re.findall(r'<a id="([\w-]+)">', text)) | {
    re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles
  }


def _numbers(name):
  text = _read(_ROOT / 'docs' / f'{name}.md')
  pattern = (
    r'<a id="(\d+)"></a>\n### \1\. '
    if name == 'quirks'
    else r'\*\*\((\d+)\)\*\*'
  )
  return [int(number) for number in re.findall(pattern, text)]


@functools.cache
def _names(path):
  return {
    node.name
    for node in ast.walk(ast.parse(_read(path)))
    if isinstance(node, (ast.FunctionDef, ast.ClassDef))
  }


def test_numbers_have_no_gap():
  assert _numbers('quirks') == list(range(1, 62))
  assert _numbers('method') == list(range(1, 16))


def test_numbers_that_are_cited_exist():
  found = [
    (path, name, int(number))
    for path in [*_CODE, *_PAGES]
    for name, number in _CITATION.findall(_read(path))
  ]
  assert len({name for _, name, _ in found}) == 2
  known = {name: _numbers(name) for name in ('quirks', 'method')}
  assert [one for one in found if one[2] not in known[one[1]]] == []


def test_bare_numbers_in_the_objective_exist():
  code = _read(_ROOT / 'tagsdc_jax' / 'objectives' / 'hard_negatives.py')
  comments = ' '.join(re.findall(r'^ *# (.*)$', code, re.MULTILINE))
  found = [
    int(number)
    for group in re.findall(r'\(([\d, to]+)\)', comments)
    for number in re.findall(r'\d+', group)
  ]
  assert len(found) > 5
  assert set(found) <= set(_numbers('method'))


def test_quirks_name_every_setting_of_the_release():
  text = _read(_ROOT / 'docs' / 'quirks.md')
  names = {name for name in settings.ALL if name.startswith('quirks.')}
  assert names == {
    f'quirks.{name}' for name in re.findall(r'`quirks\.([a-z_0-9]+)`', text)
  }


def test_the_contents_of_quirks_list_every_title():
  text = _read(_ROOT / 'docs' / 'quirks.md')
  listed = re.findall(r'^  - \[(\d+)\]\(#\1\) (.+)$', text, re.MULTILINE)
  assert listed == re.findall(r'^### (\d+)\. (.+)$', text, re.MULTILINE)


@pytest.mark.parametrize('page', _PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
  wrong = []
  for target in _LINK.findall(_prose(page)):
    name, _, anchor = target.partition('#')
    if re.match(r'[a-z]+:', target):
      continue
    path = (page.parent / name) if name else page
    if not path.exists() or (anchor and anchor not in _anchors(path)):
      wrong.append(target)
  assert wrong == []


@pytest.mark.parametrize('page', _PAGES, ids=lambda page: page.name)
def test_places_in_the_code_exist(page):
  wrong = [
    (file, name)
    for file, name in _PLACE.findall(_read(page))
    if not (_ROOT / file).is_file() or name and name not in _names(_ROOT / file)
  ]
  assert wrong == []


def test_example_of_masking():
  rows = dict(
    re.findall(
      r'^\| ([a-z ]+) \| ([\d, ]+) \| [\d.]+ \|$', _read(_METHOD), re.MULTILINE
    )
  )
  given = re.findall(
    r'^\| [a-z ]+ \| [\d, ]+ \| ([\d.]+) \|$', _read(_METHOD), re.MULTILINE
  )
  listed = [[int(i) for i in places.split(',')] for places in rows.values()]
  assert len(listed) == 5
  counts = phrases.phrase_counts(listed, 9, 5, 9, offset=0)
  probs = np.asarray(masking.phrase_probs(counts, 0.15))
  assert [f'{x:.4f}' for x in probs] == given
  none = np.prod(1 - probs)
  red_ball = probs[list(rows).index('red ball')]
  assert (
    f'{red_ball:.1f} + {none:.4f} / 5 = {red_ball + none / 5:.4f}'
    in _read(_METHOD)
  )


def test_example_of_masking_is_what_is_drawn():
  counts = phrases.phrase_counts(
    [[3], [7], [2, 3], [6, 7], [3, 4, 7]], 9, 5, 9, offset=0
  )
  chosen = masking.choose_phrases(
    jax.random.key(0), counts[None], num_copies=40_000, mask_rate=0.15
  )
  # Five times the standard deviation.
  assert abs(float(jnp.mean(chosen[0, :, 2])) - 0.2340) < 0.0106


def test_example_of_the_triplet_loss():
  probs = jax.nn.sigmoid(jnp.array([1.0, 0.5, -2.0]))
  losses = triplet.triplet_loss(probs[0], probs[1:], margin=0.2)
  mean = words.masked_mean(losses, jnp.ones(2, bool), 0)
  text = ' '.join(_read(_METHOD).split())
  own, first, second = (f'{x:.4f}' for x in probs)
  assert f'probabilities {own}, {first} and {second}.' in text
  assert (
    f'losses are {losses[0]:.4f} and {losses[1]:.4f}, with mean {mean:.4f}:'
  ) in text


def test_settings_that_are_named_exist():
  groups = '|'.join(
    {name.partition('.')[0] for name in settings.ALL if '.' in name}
  )
  for page in _PAGES:
    for name in re.findall(
      rf'`((?:{groups})\.[a-z_0-9]+)[`=]', page.read_text('utf-8')
    ):
      assert name in settings.ALL or name in _FILES, f'{page.name}: {name}'


def test_defaults_in_the_table_are_those_of_the_settings():
  rows = re.findall(
    r'^\| \$[^|]+ \| `([\w.]+)` \| ([^|]+) \|', _read(_METHOD), re.MULTILINE
  )
  assert len(rows) > 10
  assert {name: float(default) for name, default in rows} == {
    name: settings.ALL[name].default for name, _ in rows
  }


def _blocks(page, *languages):
  return [
    text
    for language, text in _BLOCK.findall(_read(page))
    if language in languages
  ]


def _commands(page):
  """Returns the words of each `tagsdc` command that is not run here."""
  lines = [
    line
    for block in _blocks(page, '', 'sh')
    for line in block.replace('\\\n', ' ').splitlines()
  ]
  found = [
    shlex.split(line, comments=True) for line in lines if 'tagsdc ' in line
  ]
  return [words[1:] for words in found if words[:1] == ['tagsdc']]


@pytest.mark.parametrize('page', _PAGES, ids=lambda page: page.name)
def test_commands_parse(page, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for command in _commands(page):
    args, rest = main.make_parser().parse_known_args(command)
    overrides = [word for word in rest if word.startswith('--config.')]
    assert rest == overrides, command
    name = getattr(args, 'config', None)
    if name and not name.endswith('.py'):
      configs.load(name, overrides)
    if getattr(args, 'phases', None):
      configs.load_phases(args.phases, overrides)


@pytest.mark.parametrize(
  'page',
  [page for page in _PAGES if _blocks(page, 'console')],
  ids=lambda page: page.name,
)
def test_commands_print_what_is_shown(page, tmp_path, monkeypatch, capsys):
  """Runs the blocks of a page in one folder; `...` is anything."""
  monkeypatch.chdir(tmp_path)
  for block in _blocks(page, 'console'):
    for part in re.split(r'^\$ ', block, flags=re.MULTILINE)[1:]:
      line, _, shown = part.partition('\n')
      program, *arguments = shlex.split(line)
      if program == 'mkdir':
        Path(arguments[-1]).mkdir()
        continue
      try:
        code = main.main(arguments)
      except SystemExit as end:  # --help
        code = end.code
      printed = capsys.readouterr()
      assert not code, printed.err
      assert re.search(
        re.escape(shown).replace(re.escape('...'), '.*'), printed.out, re.DOTALL
      ), printed.out


def _wording(node):
  """Returns a string as it is written, \0 for what is filled in; else None."""
  if isinstance(node, ast.Constant):
    return node.value if isinstance(node.value, str) else '\0'
  if isinstance(node, ast.JoinedStr):
    return ''.join(_wording(part) or '\0' for part in node.values)
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
    return (_wording(node.left) or '\0') + (_wording(node.right) or '\0')
  if isinstance(node, ast.Call) and ast.unparse(node.func) == 'bad':
    parts = [_wording(part) or '\0' for part in node.args]
    return '{} must be {}, got {}; {}'.format(*parts)
  return None


@functools.cache
def _wordings():
  found = []
  for path in _CODE:
    if path.is_relative_to(_ROOT / 'tagsdc_jax'):
      nodes = list(ast.walk(ast.parse(_read(path))))
      docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
      found += [_wording(node) for node in nodes if node not in docstrings]
  return '\n'.join(text.replace('\n', ' ') for text in found if text)


def test_messages_are_worded_as_in_the_code():
  """`<...>` of the page is `\0` of the code, with words of its own or not."""
  messages = re.findall(
    r'^\| `([^`]+)` \| [^|]+ \| [^|]+ \|$',
    _read(_ROOT / 'docs' / 'troubleshooting.md'),
    re.MULTILINE,
  )
  assert len(messages) > 25
  unknown = []
  for message in messages:
    parts = [re.escape(part) for part in re.split('<[^>]+>', message)]
    if not re.search(r'[^\n]*\0[^\n]*'.join(parts), _wordings()):
      unknown.append(message)
  assert unknown == []


def test_settings_that_may_change_are_listed():
  section = _read(_ROOT / 'docs' / 'clusters.md').partition('may change |')[2]
  table = section.partition('\n\n')[0]
  assert set(re.findall('`([^`]+)`', table)) == set(settings.FREE_TO_CHANGE)
