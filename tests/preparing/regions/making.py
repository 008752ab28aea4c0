"""A few pictures with regions, written in every format that is read.

The formats are written here from their description, not with the readers'
code. `FORMATS` has a writer per kind of `opening.STORES`.
"""

import base64
import dataclasses
import json

import lmdb
import msgpack_numpy
import numpy as np

SIZE = 12  # Numbers per region.


@dataclasses.dataclass
class Made:
  """A picture: boxes in pixels, x1 y1 x2 y2."""

  features: np.ndarray
  boxes: np.ndarray
  confidence: np.ndarray
  labels: np.ndarray
  width: int = 640
  height: int = 480

  @property
  def six(self):
    """Returns float32 x1 y1 x2 y2 w h, divided."""
    four = self.boxes / np.array([self.width, self.height] * 2, np.float32)
    return np.concatenate([four, four[:, 2:] - four[:, :2]], 1).astype('f4')


def picture(seed, regions=4, width=640, height=480, size=SIZE):
  rng = np.random.default_rng(seed)
  corners = np.sort(rng.uniform(size=(regions, 2, 2)), axis=1)
  corners[:1] = [[0, 0], [1, 1]]  # As a rule one is the whole picture.
  boxes = corners.reshape(regions, 4) * np.array([width, height] * 2)
  return Made(
    # Exact in float16, so that all formats give the same.
    rng.normal(size=(regions, size)).astype('f2').astype('f4'),
    np.round(boxes).astype('f4'),
    np.sort(rng.uniform(size=regions).astype('f2'))[::-1].astype('f4'),
    rng.integers(0, 1600, regions),
    width,
    height,
  )


def pictures(count=4, regions=4):
  """Returns name -> picture; names are COCO's ids."""
  return {
    str(1000 + 7 * i): picture(i, regions, *((640, 480), (375, 500))[i % 2])
    for i in range(count)
  }


def packed(array, dtype='<f4'):
  return base64.b64encode(np.asarray(array, dtype).tobytes())


def butd_line(name, made):
  return b'\t'.join(
    [
      name.encode(),
      *(str(x).encode() for x in (made.width, made.height)),
      str(len(made.features)).encode(),
      packed(made.boxes),
      packed(made.features),
    ]
  )


def lxmert_fields(name, made):
  count = len(made.features)
  return [
    name.encode(),
    str(made.height).encode(),
    str(made.width).encode(),
    packed(made.labels, '<i8'),
    packed(made.confidence),
    packed(np.zeros(count), '<i8'),
    packed(np.zeros(count)),
    str(count).encode(),
    packed(made.boxes),
    packed(made.features),
  ]


def lxmert_line(name, made):
  return b'\t'.join(lxmert_fields(name, made))


def lxmert_python3_line(name, made):
  """As Python 3 wrote them: base64 as the text b'...'."""
  fields = lxmert_fields(name, made)
  for i in (3, 4, 5, 6, 8, 9):
    fields[i] = repr(fields[i]).encode()
  return b'\t'.join(fields)


def _with_box(made):
  return np.concatenate([made.features, made.six], axis=1)


def retrieval_line(name, made):
  count = str(len(made.features)).encode()
  return b'\t'.join([name.encode(), count, packed(_with_box(made))])


def captioning_line(name, made):
  content = {
    'num_boxes': len(made.features),
    'features': packed(_with_box(made)).decode(),
  }
  return b'\t'.join([name.encode(), json.dumps(content).encode()])


def predictions_line(name, made):
  objects = [
    {
      'class': 'dog',
      'conf': float(confidence),
      'rect': [float(x) for x in box],
      'feature': packed(feature).decode(),
    }
    for confidence, box, feature in zip(
      made.confidence, made.boxes, made.features
    )
  ]
  content = {'image_h': made.height, 'image_w': made.width, 'objects': objects}
  return b'\t'.join([name.encode(), json.dumps(content).encode()])


def write_lines(path, lines, end=b'\n'):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b''.join(line + end for line in lines))
  return path


def _tsv(line, end=b'\n'):
  def write(folder, made):
    lines = [line(name, picture) for name, picture in made.items()]
    return write_lines(folder / 'regions.tsv', lines, end)

  return write


def uniter_record(made):
  return {
    'features': made.features.astype('f2'),
    'norm_bb': made.six.astype('f2'),
    'conf': made.confidence.astype('f2'),
  }


def write_uniter_lmdb(folder, made):
  place = folder / 'feat_th0.2_max100_min10'
  place.mkdir(parents=True)
  with lmdb.open(str(place), map_size=1 << 24, lock=False) as environment:
    with environment.begin(write=True) as transaction:
      for name, item in made.items():
        value = msgpack_numpy.packb(uniter_record(item))
        transaction.put(f'{name}.npz'.encode(), value)
      names = [f'{name}.npz' for name in made]
      transaction.put(b'__keys__', json.dumps(names).encode())
  return place


def write_uniter_npz(folder, made):
  folder.mkdir(parents=True, exist_ok=True)
  for name, item in made.items():
    soft = np.zeros((len(item.features), 1601), 'f2')
    soft[np.arange(len(soft)), item.labels] = 1
    np.savez(folder / f'{name}.npz', **uniter_record(item), soft_labels=soft)
  return folder


def write_bua_npz(folder, made):
  folder.mkdir(parents=True, exist_ok=True)
  for name, item in made.items():
    np.savez_compressed(
      folder / f'{name}.npz',
      x=item.features,
      bbox=item.boxes,
      num_bbox=len(item.boxes),
      image_h=item.height,
      image_w=item.width,
      info={'objects': 'a pickle'},
    )
  return folder


def write_precomp(
  folder, made, copies=1, ids_copies=None, split='train', dtype='f4'
):
  """Writes a split; `copies` of each picture, and of each id."""
  folder.mkdir(parents=True, exist_ok=True)
  rows = np.stack([item.features for item in made.values()]).astype(dtype)
  np.save(folder / f'{split}_ims.npy', np.repeat(rows, copies, axis=0))
  times = copies if ids_copies is None else ids_copies
  ids = [name for name in made for _ in range(times)]
  (folder / f'{split}_ids.txt').write_text('\n'.join(ids) + '\n')
  captions = 'a caption .\n' * (5 * len(made))
  (folder / f'{split}_caps.txt').write_text(captions)
  return folder


def write_h5(folder, made, index='json'):
  import h5py

  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'train36.hdf5'
  stacked = lambda what: np.stack([getattr(x, what) for x in made.values()])
  with h5py.File(path, 'w') as file:
    file['image_features'] = stacked('features')
    file['image_bb'] = stacked('boxes')
    file['spatial_features'] = stacked('six')
  rows = {name: i for i, name in enumerate(made)}
  if index == 'json':
    (folder / 'train36_imgid2idx.json').write_text(json.dumps(rows))
  return path


def write_grid(folder, made):
  import torch

  folder.mkdir(parents=True, exist_ok=True)
  for name, item in made.items():
    # As a map of two rows.
    cells = item.features.T.reshape(1, item.features.shape[1], 2, -1)
    torch.save(torch.from_numpy(cells.copy()), folder / f'{name}.pth')
  return folder


# Kind -> writer, which returns the path to open.
FORMATS = {
  'uniter_lmdb': write_uniter_lmdb,
  'uniter_npz': write_uniter_npz,
  'butd_tsv': _tsv(butd_line, b'\r\n'),
  'lxmert_tsv': _tsv(lxmert_line, b'\r\n'),
  'bua_npz': write_bua_npz,
  'vinvl_retrieval': _tsv(retrieval_line),
  'vinvl_captioning': _tsv(captioning_line),
  'vinvl_predictions': _tsv(predictions_line),
  'precomp': write_precomp,
  'updown_h5': write_h5,
  'grid_feats': write_grid,
}
EXTRAS = {'updown_h5': 'h5py', 'grid_feats': 'torch'}


@dataclasses.dataclass
class Stored:
  """A store in memory."""

  regions: dict
  kind: str = 'BUTD tsv'
  path: str = 'a.tsv'
  sources: tuple = ()

  @property
  def names(self):
    return self.regions.keys()

  def read(self, names):
    return [self.regions[name] for name in names]
