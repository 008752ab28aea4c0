"""Writes safetensors files without the package of that name.

The format: 8 bytes with the header's length (little-endian), the header as
JSON (name -> dtype, shape, first and last byte), then the raw numbers.
"""

import json
import struct
from typing import Dict

import numpy as np

_DTYPES = {
  'float64': 'F64',
  'float32': 'F32',
  'float16': 'F16',
  'int64': 'I64',
  'int32': 'I32',
  'uint8': 'U8',
  'bool': 'BOOL',
}


def write(path: str, tensors: Dict[str, np.ndarray]) -> None:
  """Writes named arrays.

  Args:
    path: file to write.
    tensors: name -> array; tied weights are stored once per name.
  Raises:
    KeyError: if the format does not support a dtype.
  """
  # Wider dtypes first, so that every array is aligned to its item size.
  names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
  header: Dict[str, dict] = {'__metadata__': {'format': 'pt'}}
  end = 0
  for name in names:
    array = tensors[name]
    start, end = end, end + array.nbytes
    header[name] = {
      'dtype': _DTYPES[array.dtype.name],
      'shape': list(array.shape),
      'data_offsets': [start, end],
    }
  text = json.dumps(header, separators=(',', ':')).encode('utf-8')
  text += b' ' * (-len(text) % 8)
  with open(path, 'wb') as file:
    file.write(struct.pack('<Q', len(text)))
    file.write(text)
    for name in names:
      array = np.ascontiguousarray(tensors[name])
      file.write(array.astype(array.dtype.newbyteorder('<')).tobytes())
