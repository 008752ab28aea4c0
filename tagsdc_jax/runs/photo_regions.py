"""Turns photos into regions as those of a prepared data set were made."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.data import dataset, opening
from tagsdc_jax.data import regions as regions_lib
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.preparing import provenance
from tagsdc_jax.preparing.photos import store as photo_store
from tagsdc_jax.preparing.regions import converting
from tagsdc_jax.preparing.regions.store import Unreadable


class PhotoReader:
  """Reads photos with the extractor of a prepared data set.

  Attributes:
    max_regions: most regions of a photo.
  """

  def __init__(
    self, config: settings.Data, encoder: str = '', detector: str = ''
  ) -> None:
    """Opens the extractor.

    Args:
      config: names the data set.
      encoder, detector: folder or hub name of its networks, if they were moved.
    Raises:
      UserError: if the data set was not made from photos, or the networks are
        not those that it was made with.
    """
    if opening.resolved_source(config) != 'prepared':
      raise errors.UserError(
        f'data.source={config.source} does not say how to make regions of a '
        'photo; only data that tagsdc prepare made from photos does: pass an '
        'image of the split'
      )
    folder = config.root
    metadata = prepared.read_metadata(folder)
    request = metadata.get('request') or {}
    sources = (metadata.get('report') or {}).get('sources') or []
    if not request.get('extractor'):
      kinds = ' and '.join(
        f'{one["path"]} ({one["kind"]})'
        for one in sources
        if one['what'] != 'captions'
      )
      raise errors.UserError(
        f'{folder} was prepared from {kinds or "files"}, not from photos, so '
        'regions cannot be made of a photo; pass an image of the split'
      )
    weights = next((one for one in sources if one['what'] == 'weights'), None)
    self._folder, self._limit = folder, request['max_regions']
    self._extractor = _open_extractor(
      folder,
      request['extractor'],
      encoder or (weights['path'] if weights else ''),
      detector or request['detector'],
    )
    if weights:
      self._check_weights(weights)
    self.max_regions = min(self._extractor.max_regions, self._limit)

  def _check_weights(self, weights: dict[str, Any]) -> None:
    now = provenance.describe(
      'weights', '', self._extractor.kind, self._extractor.sources
    )
    if now['hash'] != weights['hash']:
      raise errors.UserError(
        f'{self._folder} was prepared with other weights of '
        f'{weights["path"]} than are there now, so photos would not look as in '
        'training; pass --encoder and --detector with the ones it was '
        'prepared with'
      )

  def read(self, photos: Sequence[Path]) -> list[dataset.Regions | Unreadable]:
    """Returns the regions of photos, to the bit as `tagsdc prepare` stores."""
    return [
      self._converted(found, str(photo))
      for photo, found in zip(
        photos, photo_store.read_photos(self._extractor, photos), strict=True
      )
    ]

  def _converted(self, found: Any, name: str) -> dataset.Regions | Unreadable:
    if isinstance(found, Unreadable):
      return found
    convention = photo_store.convention_of(
      self._extractor, found.features.shape[1]
    )
    converted = converting.convert(found, convention, name, self._limit)
    if isinstance(converted, Unreadable):
      return converted
    regions = converted[0]
    return dataset.Regions(
      regions.features, regions_lib.make_boxes7(regions.boxes)
    )


def _open_extractor(
  folder: str, extractor: str, encoder: str, detector: str
) -> photo_store.Extractor:
  try:
    return photo_store.make_extractor(
      extractor, encoder or None, detector or None
    )
  except errors.UserError as error:
    raise errors.UserError(
      f'{folder} was prepared with extractor {extractor}, which cannot be '
      f'opened: {error}; if it was moved, pass --encoder or --detector'
    ) from error


class WithPhotos:
  """A split of a data set with a few photos beside its images.

  Attributes:
    data: the split; photos have the numbers after its images.
  """

  def __init__(
    self, data: dataset.RetrievalDataset, reader: PhotoReader
  ) -> None:
    """Uses a split, and what reads photos."""
    self._split, self._reader = data, reader
    self._regions: dict[int, dataset.Regions] = {}
    self.data = dataclasses.replace(
      data,
      read_regions=self._read,
      # Room for photos of more regions than the split's images have.
      num_regions=np.append(data.num_regions, reader.max_regions),
    )

  def hold(self, photos: Sequence[Path]) -> list[int | Unreadable]:
    """Returns the number of each photo; numbers of an earlier call are void.

    So that memory holds the regions of these photos only.
    """
    found: list[int | Unreadable] = []
    self._regions = {}
    for number, regions in enumerate(
      self._reader.read(photos), len(self._split.image_ids)
    ):
      if isinstance(regions, Unreadable):
        found.append(regions)
      else:
        self._regions[number] = regions
        found.append(number)
    return found

  def _read(self, image: int) -> dataset.Regions:
    held = self._regions.get(image)
    return self._split.read_regions(image) if held is None else held
