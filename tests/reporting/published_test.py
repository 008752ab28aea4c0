import pytest

from tagsdc_jax.reporting import published


@pytest.mark.parametrize(
  'protocol, sums',
  [
    ('coco_5k', [467.4, 472.9]),
    ('flickr_1k', [549.4, 557.4]),
    ('coco_1k', []),
    ('cxc', []),
  ],
)
def test_sums_of_what_was_published(protocol, sums):
  results = published.results(protocol)
  assert [result['rsum'] for _, result in results] == pytest.approx(sums)
  assert [name for name, _ in results] == [
    'published, TAGS-DC base',
    'published, TAGS-DC large',
  ][: len(sums)]
  # Text retrieval is the easier way: several captions may be found.
  assert all(
    result['text_mean'] > result['image_mean'] for _, result in results
  )
