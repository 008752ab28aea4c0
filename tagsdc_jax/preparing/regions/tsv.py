"""Tab-separated files of bottom-up attention, and of LXMERT."""

import numpy as np

from tagsdc_jax.preparing.regions.lines import (
  LineStore,
  count_in,
  number_in,
  numbers_in,
)
from tagsdc_jax.preparing.regions.store import StoredRegions


class ButdStore(LineStore):
  """Files of bottom-up attention: width before height, base64 of float32."""

  kind = 'BUTD tsv'
  columns = ('image_id', 'image_w', 'image_h', 'num_boxes', 'boxes', 'features')

  def _read(self, name: str) -> StoredRegions:
    _, width, height, count, boxes, features = self._fields(name, 6)
    regions = count_in(count)
    return StoredRegions(
      numbers_in(features, 'features', '<f4', regions),
      numbers_in(boxes, 'boxes', '<f4', regions, 4),
      width=number_in(width, 'image_w'),
      height=number_in(height, 'image_h'),
    )


class LxmertStore(LineStore):
  """Files of LXMERT: height before width, with classes and confidences."""

  kind = 'LXMERT tsv'
  columns = (
    'img_id',
    'img_h',
    'img_w',
    'objects_id',
    'objects_conf',
    'attrs_id',
    'attrs_conf',
    'num_boxes',
    'boxes',
    'features',
  )

  def _read(self, name: str) -> StoredRegions:
    fields = dict(zip(self.columns, self._fields(name, 10)))
    regions = count_in(fields['num_boxes'])

    def numbers(what: str, dtype: str, columns: int | None) -> np.ndarray:
      return numbers_in(fields[what], what, dtype, regions, columns)

    return StoredRegions(
      numbers('features', '<f4', None),
      numbers('boxes', '<f4', 4),
      numbers('objects_conf', '<f4', 1)[:, 0],
      numbers('objects_id', '<i8', 1)[:, 0],
      width=number_in(fields['img_w'], 'img_w'),
      height=number_in(fields['img_h'], 'img_h'),
    )
