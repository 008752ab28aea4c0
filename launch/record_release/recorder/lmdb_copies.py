"""Copies the records that an evaluation needs into new LMDB folders."""

import argparse
import json
import os
import shutil
from typing import Any, Dict, List

import lmdb

from recorder.arguments import image_names
from recorder.databases import Databases


def write(
  databases: Databases, data: Any, options: argparse.Namespace, out: str
) -> List[str]:
  """Writes lmdb/txt_db/NAME and lmdb/img_db/NAME; returns their names.

  Args:
    databases: source of the records.
    data: the evaluation data set: its captions and images are copied.
    options: the command line.
    out: folder of the recordings.
  """
  text_name, image_name = (
    os.path.join('lmdb', kind, os.path.basename(os.path.abspath(path)))
    for kind, path in (('txt_db', options.txt_db), ('img_db', options.img_db))
  )
  text = os.path.join(out, text_name)
  _write_records(text, _read(databases.text.db.txn, data.ids))
  shutil.copy(os.path.join(options.txt_db, 'meta.json'), text)
  for name, content in (
    ('id2len', {key: databases.text.id2len[key] for key in data.ids}),
    ('txt2img', data.txt2img),
    ('img2txts', data.img2txts),
  ):
    _write_json(os.path.join(text, name + '.json'), content)
  folder, nbb = image_names(options)
  images = os.path.join(out, image_name)
  # Score columns are sorted by name2nbb; this is the order of img2txts.
  names = list(data.img2txts)
  records = _read(databases.images.txn, names)
  records[b'__keys__'] = json.dumps(names).encode('utf-8')
  _write_records(os.path.join(images, folder), records)
  if nbb:
    _write_json(
      os.path.join(images, nbb),
      {name: databases.images.name2nbb[name] for name in names},
    )
  return [text_name, image_name]


def _read(source: Any, keys: List[str]) -> Dict[bytes, bytes]:
  """Returns unmodified records from an open transaction."""
  names = [key.encode('utf-8') for key in keys]
  return {name: bytes(source.get(name)) for name in names}


def _write_records(folder: str, records: Dict[bytes, bytes]) -> None:
  """Writes a new LMDB folder, without a lock file."""
  os.makedirs(folder)
  # Pages are not completely filled; the file only grows as needed.
  size = 4 * sum(map(len, records.values())) + 10 * 1024**2
  environment = lmdb.open(folder, map_size=size)
  with environment.begin(write=True) as transaction:
    for name, value in records.items():
      transaction.put(name, value)
  environment.close()
  os.remove(os.path.join(folder, 'lock.mdb'))


def _write_json(path: str, content: Dict[str, Any]) -> None:
  with open(path, 'w', encoding='utf-8') as file:
    json.dump(content, file)
