"""Every setting of the schema: below, above, at the edges, of another kind.

Generated from the schema, so that a new setting is tried as well.
"""

import dataclasses
import math
import typing

import numpy as np
import pytest

from tagsdc_jax import errors, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.settings import kinds, schema

NAMES = tuple(settings.ALL)
# Of whole and other numbers, whatever their range is.
_NEVER_NUMBERS = (
  math.nan,
  math.inf,
  -math.inf,
  10**400,
  -(10**400),
  'many',
  '',
  '5',
  True,
  None,
  [1],
  (1,),
  {'a': 1},
  1j,
)
_PYTHON = {
  kinds.Whole: int,
  kinds.Number: float,
  kinds.Flag: bool,
  kinds.Choice: str,
  kinds.Named: str,
  kinds.LocalPath: str,
  kinds.Updates: str,
}
# Any phase's rows fit into it.
_BASE = settings.flatten(settings.Settings(batch=settings.Batch(positives=8)))


def _allowed(kind):
  """Values at the edges, as they are given."""
  if isinstance(kind, kinds.Several):
    good = _allowed(kind.of)
    return [(), (good[0],), tuple(good), list(good)]
  good = {
    kinds.Whole: lambda: [kind.least, kind.most, np.int64(kind.most)],
    kinds.Number: lambda: [
      kind.least,
      kind.most,
      np.float64(kind.least),
      (kind.least + kind.most) / 2,
      math.ceil(kind.least),
    ],
    kinds.Flag: lambda: [True, False],
    kinds.Choice: lambda: list(kind.words),
    kinds.Named: lambda: [*kind.words, 'my_file:my_function'],
    kinds.LocalPath: lambda: ['a', '/b/c d', 'e,f', '$HOME', './~'],
    kinds.Updates: lambda: ['', '1', '3-3', '10-12'],
  }[type(kind)]()
  return good + ([None] if kind.off else [])


def _refused(kind):
  """Values out of range or of another kind."""
  if isinstance(kind, kinds.Several):
    good = _allowed(kind.of)[0]
    return [
      good,
      None,
      3.5,
      True,
      {'a': 1},
      *((good, bad) for bad in _refused(kind.of)),
    ]
  bad = {
    kinds.Whole: lambda: [
      kind.least - 1,
      kind.most + 1,
      kind.least + 0.5,
      float(kind.least),
      2**64,
      -(2**64),
    ],
    kinds.Number: lambda: [
      np.nextafter(kind.least, -math.inf),
      np.nextafter(kind.most, math.inf),
    ],
    kinds.Flag: lambda: [0, 1, 'true', 'yes', math.nan, []],
    kinds.Choice: lambda: ['', 'no such', 3, True, math.nan, list(kind.words)],
    kinds.Named: lambda: [
      '',
      'no such',
      'a:',
      ':b',
      'a:b:c',
      'a.b:c',
      3,
      True,
      math.nan,
      list(kind.words),
    ],
    kinds.LocalPath: lambda: [
      'gs://a/b',
      's3://a',
      'hdfs://a',
      'FILE:///a',
      '~no_such_user/a',
      'a\0b',
      'x' * 300,
      'y/' * 3000,
      '\ud800',
      3,
      True,
      ['a'],
      *([] if kind.may_be_empty else ['']),
    ],
    kinds.Updates: lambda: [
      '0',
      '2-1',
      '-1',
      '1-',
      'x',
      '1-2-3',
      '1' * 20,
      3,
      True,
      ('1',),
    ],
  }[type(kind)]()
  if type(kind) in (kinds.Whole, kinds.Number):
    bad += _NEVER_NUMBERS
  return [value for value in [*bad, None] if value is not None or not kind.off]


def _given(value):
  return tuple(value) if isinstance(value, list) else value


def _from_config(name, value):
  """As a config file would have it that gets around ml_collections' types."""
  config = settings.default_config()
  config.batch.positives = 8
  with config.ignore_type():
    config.update_from_flattened_dict({name: value})
  return settings.from_config(config)


def _is_changed(kind, value):
  """Whether ml_collections makes something else of it, or refuses it."""
  return (
    isinstance(value, dict)
    or isinstance(kind, kinds.Number)
    and (value is True or type(value) is int and abs(value) > 2**999)
  )


def _from_flat(name, value):
  return settings.from_flat(_BASE | {name: value})


def _value(config, name):
  for part in name.split('.'):
    config = getattr(config, part)
  return config


def test_every_setting_has_kind_and_meaning_and_its_default_is_allowed():
  for name, setting in settings.ALL.items():
    one, kind = setting.field.type, setting.kind
    if typing.get_origin(one) is tuple:
      assert isinstance(kind, kinds.Several), name
      one, kind = typing.get_args(one)[0], kind.of
    options = set(typing.get_args(one) or (one,))
    assert options == {_PYTHON[type(kind)]} | (
      {type(None)} if kind.off else set()
    ), name
    assert kind.off or not isinstance(setting.default, type(None)), name
    assert setting.kind.take(setting.default) == setting.default, name
    assert setting.meaning.endswith('.'), name


def test_a_setting_without_a_range_is_noticed():
  @dataclasses.dataclass(frozen=True)
  class Careless:
    one: int = kinds.setting(1, kinds.Whole(0, 2), 'Declared.')
    other: int = 3

  with pytest.raises(KeyError, match='kind'):
    list(schema.walk(Careless))


def test_ranges_of_numbers_survive_float32():
  ranges = [
    setting.kind
    for setting in settings.ALL.values()
    if isinstance(setting.kind, kinds.Number)
  ]
  assert len(ranges) > 15
  for kind in ranges:
    least, most = np.float32(kind.least), np.float32(kind.most)
    assert np.isfinite([least, most]).all()
    assert (least > np.finfo(np.float32).tiny) == (kind.least > 0)
    # Where 1 itself is not allowed, float32 must not round to it.
    assert (most >= 1) == (kind.most >= 1)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('freeze', [_from_flat, _from_config])
def test_what_is_out_of_range_is_named_with_range_and_value(freeze, name):
  kind = settings.ALL[name].kind
  for value in _refused(kind):
    if freeze is _from_config and _is_changed(kind, value):
      continue
    with pytest.raises(ValueError) as caught:
      freeze(name, value)
    line = str(caught.value)
    assert line.startswith(f'{name} must be {kind}, got '), (value, line)
    assert kinds.shown(value) in line
    assert len(line) < 1000


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('freeze', [_from_flat, _from_config])
def test_what_is_in_range_arrives_as_it_was_given(freeze, name):
  kind = settings.ALL[name].kind
  for value in _allowed(kind):
    try:
      found = _value(freeze(name, value), name)
    except ValueError as error:
      # Alone it may not go with the other settings.
      assert name in str(error) and ' must be a ' not in str(error), value
      continue
    assert found == _given(value)
    types = {type(x) for x in (found if isinstance(found, tuple) else (found,))}
    of = kind.of if isinstance(kind, kinds.Several) else kind
    assert types <= {_PYTHON[type(of)], type(None)}


def _text(value):
  """A value as it is typed."""
  if isinstance(value, (tuple, list)):
    return ','.join(f"'{x}'" if isinstance(x, str) else str(x) for x in value)
  return (
    {True: 'true', False: 'false'}.get(value, str(value))
    if isinstance(value, bool)
    else str(value)
  )


@pytest.mark.parametrize('name', NAMES)
def test_the_command_line_takes_the_same(name):
  kind = settings.ALL[name].kind
  for value in _allowed(kind):
    given = f'--config.{name}={_text(value)}'
    try:
      found = _value(configs.load('world_tags', [given]), name)
    except errors.UserError as error:
      assert name in str(error) and ' must be a ' not in str(error), value
      continue
    assert found == _given(value), given
  texts = [
    'nan',
    'inf',
    '-inf',
    'many',
    '1e400',
    '9' * 5000,
    '(',
    "'",
    '[[',
    '-1.5',
    'gs://a/b',
    'a\0b',
    '(' * 999,
  ]
  texts += [
    _text(x)
    for x in _refused(kind)
    if isinstance(x, (int, float, str)) and not isinstance(x, bool)
  ]
  for text in texts:
    try:
      parsed = settings.parse_value(name, text)
    except ValueError as error:
      with pytest.raises(errors.UserError) as caught:
        configs.load('world_tags', [f'--config.{name}={text}'])
      assert str(caught.value) == f'--config.{error}'
      assert name in str(error) and len(str(error)) < 1000
    else:
      assert kind.take(parsed) == parsed
      # A text that is a number is one; the text of a number is no other.
      assert not isinstance(parsed, (int, float)) or (
        float(text if text not in ('true', 'false') else parsed) == parsed
      )


@pytest.mark.parametrize(
  'text, names',
  [
    ('a.db', ('a.db',)),
    ('a.db,b.db', ('a.db', 'b.db')),
    ('a.db, b c.db ', ('a.db', 'b c.db')),
    ('', ()),
    ('()', ()),
    ('1', ('1',)),
    ('1,2', ('1', '2')),
    ("('A.db', 'B.db')", ('A.db', 'B.db')),
    ("['A.db']", ('A.db',)),
    ("('A.db',)", ('A.db',)),
    ('(a.db,b.db)', ('a.db', 'b.db')),
    ("'a,b.db'", ('a,b.db',)),
    ("'a,b.db',c.db", ('a,b.db', 'c.db')),
    ('a.db,', ('a.db',)),
    ("it's", ("it's",)),
    ('~/a,/b', ('HOME/a', '/b')),
  ],
)
def test_several_names(text, names, monkeypatch):
  monkeypatch.setenv('HOME', 'HOME')
  assert settings.parse_value('data.train_text', text) == names


@pytest.mark.parametrize(
  'text, numbers',
  [
    ('5', (5,)),
    ('5,10', (5, 10)),
    ('(5, 10)', (5, 10)),
    ('[5]', (5,)),
    ('5,', (5,)),
    (' 5 , 7 ', (5, 7)),
    ('', ()),
  ],
)
def test_several_numbers(text, numbers):
  assert settings.parse_value('keep_at_updates', text) == numbers


@pytest.mark.parametrize('text', ['a,,b', ',a', "'a"])
def test_a_list_with_a_hole_is_refused(text):
  with pytest.raises(ValueError, match='^data.train_text must be'):
    settings.parse_value('data.train_text', text)


@pytest.mark.parametrize('value', [-1, 0, math.inf])
def test_the_message_for_no_clipping_says_how(value):
  with pytest.raises(ValueError, match='or none for no clipping, got'):
    _from_flat('optimizer.clip_norm', value)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'optimizer.learning_rate': 1e-9},
      'optimizer.least_rate must be at most optimizer.learning_rate = 1e-09',
    ),
    (
      {'optimizer.learning_rate': 0.01, 'optimizer.weight_decay': 100},
      'optimizer.weight_decay must be below 1 / optimizer.learning_rate = 100',
    ),
    (
      {'data.max_regions': 5},
      'data.min_regions must be at most data.max_regions = 5, got 10',
    ),
    (
      {'num_updates': 2**24, 'batch.micro_batches': 129},
      'must be at most 2147483647, got 16777216 x 129',
    ),
    (
      {'phase': 'pretrain', 'negatives.num_in_batch': 8},
      'negatives.num_in_batch must be below batch.positives = 8, got 8',
    ),
    (
      {'phase': 'pretrain', 'negatives.num_in_batch': 0, 'losses.mlm': 0.0},
      'pretraining needs a loss, got negatives.num_in_batch, losses.mlm and',
    ),
    (
      {'phase': 'pretrain', 'negatives.similar_in_batch': True},
      'negatives.similar_in_batch needs losses.alignment above 0',
    ),
  ],
)
def test_what_does_not_go_together(changes, message):
  with pytest.raises(ValueError) as caught:
    settings.from_flat(_BASE | changes)
  assert message in str(caught.value)


@pytest.mark.parametrize(
  'changes, lines',
  [
    ({}, []),
    (
      {'keep_at_updates': [5, 5001]},
      [
        'keep_at_updates = 5001 is beyond num_updates = 5000: nothing will be '
        'kept there'
      ],
    ),
    (
      {'stop_at_update': 6000},
      [
        'stop_at_update = 6000 is beyond num_updates = 5000: the run ends there'
      ],
    ),
    (
      {'stop_at_update': 10, 'profile': '9-11'},
      [
        'profile = 9-11 is beyond update 10, the last one: nothing will be '
        'traced after it'
      ],
    ),
  ],
)
def test_what_a_run_never_comes_to_is_said(changes, lines):
  config = settings.from_flat(_BASE | changes)
  assert settings.without_effect(config) == lines


def test_earlier_names_are_read():
  old = {
    'compute.num_widths': 3,
    'compute.num_gradient_widths': 5,
    'evaluation.num_widths': 7,
  }
  new = {
    'compute.num_score_buckets': 3,
    'compute.num_gradient_buckets': 5,
    'evaluation.num_buckets': 7,
  }
  assert settings.respelled(old) == new
  assert settings.from_flat(old) == settings.from_flat(new)


def test_old_paths_are_spelled_as_now(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  old = {
    'data.root': '~/data',
    'data.train_text': ['~/a', 'b'],
    'optimizer.clip_norm': -1,
    'gone': 3,
    'num_updates': 5,
  }
  assert settings.respelled(old) == old | {
    'data.root': '/home/me/data',
    'data.train_text': ['/home/me/a', 'b'],
  }


@pytest.mark.parametrize(
  'change, message',
  [
    ('config.optimizer = None', 'optimizer is a group of settings, got None'),
    ('config.optimizer = {"beta1": 0.5}', 'optimizer.beta2 is missing; start'),
    ('config = ml_collections.ConfigDict()', 'is missing; start from'),
    ('config = ml_collections.ConfigDict({"sed": 1})', 'sed is not a setting'),
    (
      'config = ml_collections.ConfigDict({"seed": {"a": 1}})',
      'seed is not a group of settings',
    ),
    (
      'config.batch.micro_batches = None',
      'batch.micro_batches must be a whole number',
    ),
    (
      'config.data.train_text = "a.db"',
      'train_text must be a path on this machine, or several, separated by',
    ),
    (
      'config.optimizer.learning_rate = np.float32(0.1)',
      'learning_rate must be a number from 1e-12 to 1, got 0.1',
    ),
    (
      'config.optimizer.learning_rate = "1e-4"',
      'to 1, got 1e-4 of type str, not float',
    ),
    (
      'config.optimizer.clip_norm = "none"',
      'or none for no clipping, got none of type str, not float; write None',
    ),
    ('config.num_updates = True', 'num_updates must be a whole number from'),
    ('config.optimizer.clip_norm = -1', 'or none for no clipping, got -1.0'),
  ],
)
@pytest.mark.parametrize('overrides', [(), ('--config.preset=as_released',)])
def test_a_file_with_nonsense_is_one_line(tmp_path, change, message, overrides):
  path = tmp_path / 'mine.py'
  path.write_text(
    'import ml_collections\nimport numpy as np\n'
    'from tagsdc_jax import settings\ndef get_config():\n'
    '  config = settings.default_config()\n'
    f'  {change}\n  return config\n',
    'utf-8',
  )
  with pytest.raises(errors.UserError) as caught:
    configs.load(str(path), overrides)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)


def test_no_clipping_in_a_file_and_on_the_command_line(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(
    'from tagsdc_jax.configs import world_tags\n'
    'def get_config():\n  config = world_tags.get_config()\n'
    '  config.optimizer.clip_norm = None\n  return config\n',
    'utf-8',
  )
  key = '--config.optimizer.clip_norm='
  assert configs.load(str(path), ()).optimizer.clip_norm is None
  assert configs.load(str(path), [f'{key}3']).optimizer.clip_norm == 3.0
  assert configs.load('world_tags', [f'{key}none']).optimizer.clip_norm is None
  # Of two the last counts.
  assert (
    configs.load('world_tags', [f'{key}none', f'{key}1']).optimizer.clip_norm
    == 1.0
  )


def test_several_values_given_twice():
  one, two = (f'--config.data.train_text={x}' for x in ('a.db', 'b.db'))
  with pytest.raises(errors.UserError) as caught:
    configs.load('world_tags', [one, two])
  assert str(caught.value) == (
    '--config.data.train_text is given twice, with different values; pass '
    'all of them at once, --config.data.train_text=A,B'
  )
  assert configs.load('world_tags', [one, one]).data.train_text == ('a.db',)
