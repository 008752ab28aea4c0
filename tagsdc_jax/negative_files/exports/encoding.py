"""JSON as the formats have it: UTF-8, entries one by one."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO


def to_json(value: Any) -> str:
  """Returns a value as JSON in one line."""
  return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write_line(file: BinaryIO, fields: Mapping[str, Any]) -> None:
  """Writes a line of JSON lines."""
  file.write(f'{to_json(fields)}\n'.encode())


def write_list(file: BinaryIO, entries: Iterable[Any]) -> None:
  """Writes a JSON list, without ever holding all of it."""
  separator = '[\n'
  for entry in entries:
    file.write(f'{separator}{to_json(entry)}'.encode())
    separator = ',\n'
  file.write(('\n]\n' if separator == ',\n' else '[]\n').encode())
