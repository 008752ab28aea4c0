"""Damages what the project reads, at random: each case must end in words.

  python -m tests.fuzzing --cases 1000 --seed 0

Every case damages one file of a copy of good data (flipped bits, a cut, zeros,
bytes of another place, an empty or a missing file, an edited word, two lines
exchanged) and reads it in a process of its own. Allowed: a `UserError`, or
data of the right shape. Values that changed in a format that keeps no checksums
(LMDB pages, regions) are counted. A traceback, a crash and a hang are failures.
"""

import argparse
import collections
import hashlib
import importlib
import importlib.util
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from tagsdc_jax import errors, files, settings
from tagsdc_jax.commands import configs
from tagsdc_jax.comparison import stored
from tagsdc_jax.conversion import reading
from tagsdc_jax.data import opening
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.foil_files import reading as foil_reading
from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import writing as exports
from tagsdc_jax.preparing import copying, writing
from tagsdc_jax.preparing.captions import reading as reading_captions
from tagsdc_jax.preparing.regions import conventions, converting
from tagsdc_jax.preparing.regions import opening as regions_opening
from tagsdc_jax.preparing.regions.store import Unreadable
from tagsdc_jax.runs import folder, report
from tagsdc_jax.training import checkpoints
from tests.foil_files import files as foil_cases
from tests.negative_files.exports import making as writing_negatives
from tests.preparing.regions import making

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / 'tests' / 'golden' / 'recordings'
# Kind -> file name and content.
CAPTIONS = {
  'karpathy': (
    'dataset.json',
    '{"images": [{"filename": "a.jpg", "cocoid": 3, "imgid": 0, "split": "val",'
    ' "sentences": [{"raw": "A dog.", "sentid": 1}, {"raw": "Two dogs.",'
    ' "sentid": 2}]}], "dataset": "coco"}',
  ),
  'coco': (
    'captions.json',
    '{"images": [{"id": 3, "file_name": "a.jpg", "width": 640, "height": 480}],'
    ' "annotations": [{"id": 1, "image_id": 3, "caption": "A dog."}]}',
  ),
  'lavis': (
    'test.json',
    '[{"image": "a.jpg", "image_id": 3, "caption": ["A dog.", "Two dogs."]}]',
  ),
  'lines': (
    'captions.jsonl',
    '{"image": "a.jpg", "caption": "A dog."}\n'
    '{"image": "b.jpg", "caption": ["A cat."], "split": "test"}\n',
  ),
  'csv': (
    'captions.csv',
    'image,caption,split\na.jpg,A dog.,train\nb.jpg,"Red, and blue",test\n',
  ),
  'tokens': (
    'Flickr8k.token.txt',
    'a.jpg#0\tA dog .\na.jpg#1\tTwo dogs .\nb.jpg#0\tA cat .\n',
  ),
  'precomp': ('dev_caps.txt', 'A dog .\nTwo dogs .\nA cat .\nA tree .\n'),
}
LIMIT = 120  # Seconds that one case may take.
WORDS = (
  b'null',
  b'-1',
  b'[]',
  b'{}',
  b'"',
  b'1e999',
  b'NaN',
  b',',
  b'\xff',
  b'99999999999',
  b'true',
  b'../..',
)


def _lmdb(place):
  config = settings.Data(
    source='uniter_lmdb',
    root=str(place),
    train_text=('txt_db/itm_toy.db',),
    train_images=('img',),
  )
  data = opening.open_split(config, 'train')
  parts = [
    str(
      [(c.caption_id, c.image, c.phrases, c.text) for c in data.captions]
    ).encode(),
    *(c.token_ids.tobytes() for c in data.captions),
  ]
  for image, count in enumerate(data.num_regions):
    regions = data.read_regions(image)
    assert regions.features.shape == (count, data.feature_size)
    assert regions.boxes.shape == (count, 7)
    parts += [regions.features.tobytes(), regions.boxes.tobytes()]
  return parts


def _checkpoint(place):
  loaded = checkpoints.load(place / 'checkpoint')
  return [
    str(loaded.about).encode(),
    *(np.asarray(x).tobytes() for x in _leaves(loaded.parameters)),
  ]


def _leaves(tree):
  return (
    [leaf for key in sorted(tree) for leaf in _leaves(tree[key])]
    if isinstance(tree, dict)
    else [tree]
  )


def _npz(place):
  arrays = stored.open_arrays(place / 'forward.npz', check=True)
  return [np.asarray(arrays[name]).tobytes() for name in sorted(arrays)]


def _config(place):
  return [str(configs.load(str(place / 'config.py'), [])).encode()]


def _run_folder(place):
  return [
    str(folder.read_config(place)).encode(),
    str(report.read_metrics(place / 'metrics.jsonl')).encode(),
  ]


def _weights(place):
  weights = reading.read(place / 'weights.safetensors')
  return [weights[name].tobytes() for name in sorted(weights)]


def _regions(place):
  store = regions_opening.open_store(str(place))
  convention = conventions.find(store)
  parts = [str((convention, store.notes)).replace(str(place), '').encode()]
  for name in store.names:
    (read,) = store.read([name])
    if not isinstance(read, Unreadable):
      assert read.features.shape == (len(read.features), store.feature_size)
      read = converting.convert(read, convention, name, 3)
    if isinstance(read, Unreadable):
      assert '\n' not in read.reason
      parts.append(read.reason.replace(str(place), '').encode())
      continue
    regions, _ = read
    assert np.isfinite(regions.features).all()
    assert 1 <= len(regions.features) == len(regions.boxes) <= 3
    assert regions.boxes.shape[1] == 6
    parts += [regions.features.tobytes(), regions.boxes.tobytes()]
  return parts


def _captions(place):
  known = [name for name, _ in CAPTIONS.values() if (place / name).exists()]
  is_file = known and known != ['dev_caps.txt']
  found = reading_captions.read(place / known[0] if is_file else place)
  return [str(found.pictures).replace(str(place), '').encode()]


def _prepared(place):
  parts = []
  for split in opening.SPLITS:
    data = prepared.load_prepared(place / 'set', split)
    parts.append(str(data.captions).encode())
    for image in range(len(data.image_ids)):
      regions = data.read_regions(image)
      parts += [regions.features.tobytes(), regions.boxes.tobytes()]
  return parts


def _negatives(place):
  with tempfile.TemporaryDirectory() as root:
    for name in ('negclip', 'sugarcrepe', 'cs-clip'):
      file = records.File(place / 'negatives.jsonl')
      exports.write(file, Path(root) / name, name)
    made = sorted(path for path in Path(root).rglob('*') if path.is_file())
    return [path.read_bytes() for path in made]


def _foils(place):
  path = next(place.iterdir(), place / 'gone')
  found = foil_reading.read(path)
  assert found.items
  return [str(found).replace(str(place), '').encode()]


# Name -> what reads it, and the share of cases.
TARGETS = {
  'lmdb': (_lmdb, 8),
  'checkpoint': (_checkpoint, 3),
  'npz': (_npz, 3),
  'config': (_config, 3),
  'run folder': (_run_folder, 2),
  'weights': (_weights, 2),
  'regions': (_regions, 12),
  'captions': (_captions, 6),
  'prepared': (_prepared, 4),
  'negatives': (_negatives, 4),
  'foils': (_foils, 4),
}


def make_good(root):
  """Writes good data; each target gets a folder, or several: "NAME, KIND"."""
  toy = RECORDED / 'lmdb'
  for name, store in (
    ('lmdb', 'feat_th0.2_max100_min10'),
    ('lmdb, packed', 'feat_th0.2_max100_min10_compressed'),
  ):
    place = root / name
    shutil.copytree(toy / 'txt_db', place / 'txt_db')
    shutil.copytree(toy / 'img_db' / 'toy' / store, place / 'img')
  # Apart: the threads of what it needs do not survive a fork.
  assert read_apart(_write_checkpoint, root)[0] == 'data'
  # Once, not in the process of every case.
  importlib.import_module('tagsdc_jax.data.prepared.schema')
  for kind in making.FORMATS:
    extra = making.EXTRAS.get(kind)
    if extra is not None:
      if not importlib.util.find_spec(extra):
        continue
      importlib.import_module(extra)
    assert read_apart(_write_regions(kind), root)[0] == 'data'
  for kind, (name, content) in CAPTIONS.items():
    (root / f'captions, {kind}').mkdir()
    (root / f'captions, {kind}' / name).write_text(content)
  (root / 'captions, precomp' / 'dev_ids.txt').write_text('42\n77\n')
  for case in foil_cases.CASES:
    (root / f'foils, {case.family}').mkdir()
    foil_cases.write(root / f'foils, {case.family}', case)
  assert read_apart(_write_prepared, root)[0] == 'data'
  (root / 'negatives').mkdir()
  writing_negatives.write(root / 'negatives' / 'negatives.jsonl')
  (root / 'npz').mkdir()
  shutil.copy(RECORDED / 'forward.npz', root / 'npz')
  (root / 'config').mkdir()
  shutil.copy(
    ROOT / 'configs' / 'own_small_tags.py', root / 'config' / 'config.py'
  )
  (root / 'run folder').mkdir()
  files.write_json(
    root / 'run folder' / 'config.json',
    {'settings': settings.flatten(settings.Settings())},
  )
  (root / 'run folder' / 'metrics.jsonl').write_text(
    '{"update": 1, "kind": "train", "loss": 0.5}\n' * 3
  )
  (root / 'weights').mkdir()
  shutil.copy(
    RECORDED / 'checkpoint_stage1.safetensors',
    root / 'weights' / 'weights.safetensors',
  )


def _write_prepared(root):
  config = settings.Data(root=str(root / 'world'), world_size='tiny')
  data = {s: opening.open_split(config, s) for s in opening.SPLITS}
  few = {s: opening.first_images(part, 6) for s, part in data.items()}
  plan = writing.Plan(
    {s: [(s, image) for image in range(6)] for s in few},
    copying.Copier(few),
    {},
  )
  place = root / 'prepared' / 'set'
  writing.write_shards(place, plan, 1)
  notes = writing.read_notes(place, plan)
  writing.finish(place, plan, notes, data['train'].vocabulary, {})
  shutil.rmtree(root / 'world')
  return []


def _write_regions(kind):
  def write(root):
    made = making.pictures()
    path = making.FORMATS[kind](root / f'regions, {kind}', made)
    if kind == 'precomp':
      making.write_precomp(path, made, 5, split='dev')
    elif kind == 'vinvl_retrieval':
      places = np.cumsum([0, *map(len, path.read_bytes().splitlines(True))])
      lines = ''.join(f'{x}\n' for x in places[:-1])
      path.with_suffix('.lineidx').write_text(lines)
    elif kind == 'updown_h5':
      rows = {int(name): i for i, name in enumerate(made)}
      path.with_name(f'{path.stem}_imgid2idx.json').unlink()
      path.with_name(f'{path.stem}_imgid2idx.pkl').write_bytes(
        pickle.dumps(rows, 2)
      )
    return []

  return write


def _write_checkpoint(root):
  rng = np.random.default_rng(0)
  checkpoints.export(
    root / 'checkpoint' / 'checkpoint',
    {
      name: {
        'kernel': rng.normal(size=(40, 50)).astype(np.float32),
        'bias': np.zeros(50, np.float32),
      }
      for name in ('a', 'b')
    },
    {
      'phase': 'tags',
      'update': 3,
      'settings': settings.flatten(settings.Settings()),
    },
  )
  return []


def damage(rng, place):
  """Damages one file under a folder; returns what was done."""
  path = rng.choice(sorted(p for p in place.rglob('*') if p.is_file()))
  content = bytearray(path.read_bytes())
  kind = rng.choice(
    (
      'flip',
      'flips',
      'cut',
      'zeros',
      'moved',
      'word',
      'word',
      'lines',
      'empty',
      'gone',
    )
  )
  at = rng.randrange(len(content)) if content else 0
  size = rng.choice((1, 8, 64, 512))
  if kind == 'gone':
    path.unlink()
  elif kind in ('flip', 'flips') and content:
    for _ in range(1 if kind == 'flip' else 20):
      content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  elif kind == 'cut':
    del content[at:]
  elif kind == 'zeros':
    content[at : at + size] = bytes(len(content[at : at + size]))
  elif kind == 'moved' and content:
    other = rng.randrange(len(content))
    content[at : at + size] = content[other : other + size]
  elif kind == 'word':
    content[at : at + rng.choice((0, 1, 4))] = rng.choice(WORDS)
  elif kind == 'lines' and b'\0' not in content:  # Of texts.
    lines = bytes(content).split(b'\n')
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    content = b'\n'.join(lines)
  elif kind == 'empty':
    content.clear()
  if kind != 'gone':
    path.write_bytes(content)
  return f'{kind} at {at} of {path.relative_to(place)}'


def read_apart(read, place):
  """Reads in a process of its own; returns ('data', hash) or what happened."""
  answer, question = os.pipe()
  child = os.fork()
  if not child:
    _answer(read, place, question)
  os.close(question)
  text = b''
  deadline = time.monotonic() + LIMIT
  os.set_blocking(answer, False)
  while time.monotonic() < deadline:
    try:
      part = os.read(answer, 1 << 16)
    except BlockingIOError:
      time.sleep(0.005)
      continue
    if not part:
      break
    text += part
  else:
    os.kill(child, signal.SIGKILL)
    text = b'hang\n'
  os.close(answer)
  status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  kind, _, rest = text.decode(errors='replace').partition('\n')
  if not kind:
    return 'crash', f'exit {status}'
  return kind, rest


def _answer(read, place, question):
  """Writes the outcome to the pipe and ends the process."""
  silent = os.open(os.devnull, os.O_WRONLY)
  os.dup2(silent, 1)
  os.dup2(silent, 2)
  try:
    said = 'data\n' + hashlib.sha256(b'|'.join(read(place))).hexdigest()
  except errors.UserError as error:
    said = f'told\n{error}'
    if '\n' in str(error):
      said = f'several lines\n{error}'
  except BaseException:
    said = f'traceback\n{traceback.format_exc()}'
  os.write(question, said.encode()[-60000:])
  os._exit(0)


def run_cases(number, seed, only=None):
  """Yields (target, what was done, kind of outcome, text) of every case."""
  rng = random.Random(seed)
  names = [
    name
    for name, (_, share) in TARGETS.items()
    for _ in range(share)
    if only is None or name == only
  ]
  with tempfile.TemporaryDirectory() as root_name:
    root = Path(root_name)
    make_good(root / 'good')
    places = {
      name: [
        p
        for p in sorted((root / 'good').iterdir())
        if p.name.split(', ')[0] == name
      ]
      for name in TARGETS
    }
    good = {}
    for _ in range(number):
      name = rng.choice(names)
      read = TARGETS[name][0]
      source = rng.choice(places[name])
      if source not in good:
        good[source] = read_apart(read, source)
        assert good[source][0] == 'data', good[source]
      place = root / 'case'
      shutil.copytree(source, place)
      done = damage(rng, place)
      kind, text = read_apart(read, place)
      if kind == 'data':
        kind = 'unharmed' if (kind, text) == good[source] else 'changed'
      shutil.rmtree(place)
      yield name, done, kind, text


def main():
  """Runs all cases, prints failures and a table."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--cases', type=int, default=1000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--only', choices=TARGETS)
  args = parser.parse_args()
  counts = collections.Counter()
  for name, done, kind, text in run_cases(args.cases, args.seed, args.only):
    counts[name, kind] += 1
    if kind not in ('told', 'unharmed', 'changed'):
      print(f'{name}: {done}: {kind}: {text[-700:]}', flush=True)
  for key, count in sorted(counts.items()):
    print(*key, count)
  return int(
    any(kind not in ('told', 'unharmed', 'changed') for _, kind in counts)
  )


if __name__ == '__main__':
  sys.exit(main())
