"""The page of a tiny data set that the tests write."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.data.phrases import ATTRIBUTE, OBJECT, RELATION
from tagsdc_jax.data.prepared import dataset as prepared
from tagsdc_jax.data.prepared import schema
from tagsdc_jax.preparing import copying, writing
from tagsdc_jax.preparing.regions import store
from tagsdc_jax.runs import prepared_examples, prepared_page
from tests.reporting.page_rendering_test import Reader

WORDS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'dog', '##gy', '.')
VOCABULARY = dataset.Vocabulary(9, 0, 1, 2, 3, 4, (5, 9), WORDS)


class _Records:
  """Passes records through; text stands for a picture that is left out."""

  feature_size = 2

  def __call__(self, pictures, made):
    for picture in pictures:
      made(1)
      if isinstance(picture, str):
        yield store.Unreadable(picture), {}
      else:
        yield picture, {'pictures': 1}


def _caption(number, image=0, text='a doggy Ω.'):
  tokens = np.array([5, 6, 7, 1, 8], np.int32)
  phrases = ((0, 1, 2), (1, 2), (3,))
  return dataset.Caption(
    f'c{number}', image, tokens, phrases, text, (RELATION, OBJECT, ATTRIBUTE)
  )


def _record(number, **changes):
  record = schema.Record(
    image_id=f'p{number}.png',
    path=f'p{number}.png',
    width=40,
    height=20,
    features=np.ones((2, 2), np.float16),
    boxes=np.array([[0, 0, 1, 1, 1, 1], [0, 0.5, 1, 1, 1, 0.5]], np.float32),
    confidence=np.zeros(0, np.float32),
    labels=np.zeros(0, np.int32),
    captions=[_caption(number)],
    numbers=[number],
  )
  return dataclasses.replace(record, **changes)


def _write(folder, splits, report=None, vocabulary=VOCABULARY, make=None):
  plan = writing.Plan(splits, make or _Records(), {})
  assert writing.write_shards(folder, plan, 1)
  metadata = {} if report is None else {'report': report}
  notes = writing.read_notes(folder, plan)
  writing.finish(folder, plan, notes, vocabulary, metadata)
  return folder


def _all(records):
  return dict.fromkeys(('train', 'validation', 'test'), records)


def _read(folder):
  text = prepared_page.write_page(folder).read_text('utf-8')
  Reader(text)
  return prepared_page.read_page(folder), text


def test_a_copied_data_set_has_its_page(tmp_path):
  data = dataset.RetrievalDataset(
    'mine',
    VOCABULARY,
    [_caption(0, 0), _caption(1, 1), _caption(2, 0)],
    ['p', 'q'],
    [(0, 2), (1,)],
    lambda image: dataset.Regions(
      np.ones((3 + image, 2), np.float16),
      np.tile(np.array([0, 0, 1, 1, 1, 1, 1], np.float32), (3 + image, 1)),
    ),
    np.array([3, 4], np.int32),
    2,
    np.dtype(np.float16),
  )
  pictures = [('train', image) for image in range(2)]
  folder = _write(
    tmp_path, {'train': pictures}, make=copying.Copier({'train': data})
  )
  page, text = _read(folder)
  (split,) = page.splits
  assert (split.pictures, split.captions, split.bare) == (2, 3, 0)
  assert (split.published, split.left_out) == (None, None)
  assert split.tokens == {5: 3} and split.regions == {3: 1, 4: 1}
  assert split.phrases == {
    kind: {0: 0, 1: 3} for kind in ('object', 'attribute', 'relation')
  }
  assert split.unknown == 3 and page.unknown_words == [('ω', 3)]
  assert page.findings == [
    'There is no split validation.',
    'There is no split test.',
  ]
  assert [item.picture.name for item in page.examples] == ['p', 'q']
  assert [len(item.captions) for item in page.examples] == [2, 1]
  assert '2 pictures with 3 captions.' in text
  assert 'every region is the whole picture' in text


def test_the_same_data_gives_the_same_bytes(tmp_path):
  folder = _write(tmp_path, _all([_record(0)]))
  first = prepared_page.write_page(folder).read_bytes()
  assert prepared_page.write_page(folder).read_bytes() == first


def test_the_report_is_shown(tmp_path):
  folder = _write(
    tmp_path,
    _all([_record(number) for number in range(3)]),
    {
      'counts': {'train': {'pictures': 3, 'clipped': 2, 'cut': 0}},
      'published': {'train': 4},
      'findings': ['train: 3 pictures, published are 4'],
      'left_out': {'train': {'count': 30, 'reasons': ['p9: broken']}},
      'sources': [{'what': 'captions', 'path': 'a.csv', 'bytes': 12}],
      'choices': {'phrases': 'words', 'seed': 0, 'extractor': ''},
    },
  )
  page, text = _read(folder)
  assert page.splits[0].published == 4 and page.splits[1].published is None
  assert page.findings == ['train: 3 pictures, published are 4']
  assert page.choices == {'phrases': 'words', 'seed': '0'}
  for said in (
    '; 30 pictures were left out; 2 boxes were clipped (11.1 %).',
    'p9: broken',
    'and 29 more',
    'a.csv</b> <small>12 B</small>',
  ):
    assert said in text


def test_a_split_whose_pictures_are_all_left_out_is_named(tmp_path):
  splits = {'train': [_record(0)], 'validation': ['broken'], 'test': []}
  report = {
    'counts': {'train': {}, 'validation': {}, 'test': {}},
    'left_out': {'validation': {'count': 1, 'reasons': ['broken']}},
  }
  page, text = _read(_write(tmp_path, splits, report))
  assert [split.pictures for split in page.splits] == [1, 0, 0]
  assert page.findings == ['validation is empty.', 'test is empty.']
  assert 'validation: 1 picture left out' in text


def test_captions_are_decoded_and_colored(tmp_path):
  page, text = _read(_write(tmp_path, {'train': [_record(0)]}))
  (caption,) = page.examples[0].captions
  assert [
    (run.text, run.kind, run.is_unknown, run.is_piece) for run in caption.runs
  ] == [
    ('a', 'relation', False, False),
    ('doggy', 'object', False, False),
    ('[UNK]', 'attribute', True, False),
    ('.', '', False, False),
  ]
  assert 'class="run attribute unknown" title="attribute">[UNK]<' in text


def test_a_phrase_of_some_pieces_of_a_word_is_seen():
  caption = dataclasses.replace(
    _caption(0), phrases=((2,),), phrase_kinds=(OBJECT,)
  )
  runs = prepared_examples.runs_of(caption, VOCABULARY)
  assert [(run.text, run.is_piece) for run in runs[:2]] == [
    ('a dog', False),
    ('gy', True),
  ]


def test_tokens_of_another_sentence_are_a_finding(tmp_path):
  record = _record(0, captions=[_caption(0, text='two cats')])
  page, text = _read(_write(tmp_path, _all([record])))
  assert page.findings == [
    'Tokens of 3 of the captions below do not decode to their text.'
  ]
  assert '<q>two cats</q>' in text


def test_without_words_texts_are_shown(tmp_path):
  bare = dataclasses.replace(VOCABULARY, words=())
  page, text = _read(_write(tmp_path, _all([_record(0)]), vocabulary=bare))
  assert not page.has_words and not page.findings
  assert '<bdi>a doggy Ω.</bdi>' in text


def test_photos_are_shown_as_they_are_meant_to_be(tmp_path):
  photos = tmp_path / 'photos'
  photos.mkdir()
  Image.new('RGB', (40, 20), 'red').save(photos / 'p0.png')
  exif = Image.Exif()
  exif[0x0112] = 6  # A quarter turn.
  Image.new('RGB', (800, 400)).save(photos / 'p1.jpg', exif=exif)
  (photos / 'p2.png').write_bytes(b'not a photo')
  Image.new('RGB', (40, 20)).save(tmp_path / 'p4.png')
  records = [
    _record(0),
    _record(1, path='p1.jpg'),
    _record(2),
    _record(3),
    _record(4, path='../p4.png'),
    _record(5, path=''),
  ]
  folder = _write(tmp_path / 'out', {'train': records}, {'photos': str(photos)})
  page, text = _read(folder)
  files = [item.picture.file for item in page.examples]
  assert [file is not None for file in files] == [True, True] + 4 * [False]
  assert [item.picture.ratio for item in page.examples] == [2, 0.5, 2, 2, 2, 2]
  sizes = [Image.open(io.BytesIO(file)).size for file in files[:2]]
  assert sizes == [(40, 20), (180, 360)]
  remarks = [item.remarks[1:] for item in page.examples]
  assert remarks[0] == [] and remarks[1] == ['but the photo has 400 x 800']
  assert 'cannot be read as a photo' in remarks[2][0]
  assert remarks[3] == [f'{photos / "p3.png"} is missing']
  assert remarks[4] == remarks[5] == ['its photo is unknown']
  assert text.count('src="data:image/jpeg') == 2


def test_boxes_are_limited(tmp_path):
  boxes = np.tile(np.array([0, 0, 0.5, 0.5, 0.5, 0.5], np.float32), (99, 1))
  record = _record(0, boxes=boxes, features=np.ones((99, 2), np.float16))
  page, text = _read(_write(tmp_path, {'train': [record]}))
  assert page.examples[0].num_regions == 99
  assert '99 regions, 40 drawn' in text and text.count('<rect') == 40


@pytest.mark.parametrize(
  'sizes, expected',
  [
    ({'train': 1000, 'validation': 50, 'test': 60}, [6, 2, 2]),
    ({'train': 3, 'validation': 0, 'test': 1}, [3, 0, 1]),
    ({'train': 4, 'validation': 4, 'test': 4}, [4, 4, 2]),
    ({'train': 0}, [0]),
    ({}, []),
  ],
)
def test_examples_are_of_every_split(sizes, expected):
  chosen = prepared_examples.choose(sizes)
  assert [len(chosen[name]) for name in sizes] == expected
  for name, numbers in chosen.items():
    assert all(0 <= number < sizes[name] for number in numbers)
  assert prepared_examples.choose(sizes) == chosen


def test_regions_are_read_of_the_examples_only(tmp_path, monkeypatch):
  folder = _write(tmp_path, {'train': [_record(n) for n in range(30)]})
  asked = []
  read = prepared.read_boxes

  def spy(root, split, image_ids):
    asked.append(len(image_ids))
    return read(root, split, image_ids)

  monkeypatch.setattr(prepared, 'read_boxes', spy)
  page = prepared_page.read_page(folder)
  assert asked == [10] and len(page.examples) == 10
  assert page.splits[0].captions == 30


def test_other_folders_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match='no prepared data set'):
    prepared_page.write_page(tmp_path)
  assert not (tmp_path / 'page.html').exists()


def test_damaged_captions_are_named(tmp_path):
  folder = _write(tmp_path, {'train': [_record(0)]})
  (path,) = (folder / 'captions').glob('*array_record*')
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(errors.UserError, match='is damaged'):
    prepared_page.write_page(folder)


def test_all_is_in_the_records(tmp_path):
  folder = _write(tmp_path, {'train': [_record(0), _record(1)]})
  assert prepared.split_sizes(folder) == {'train': 2}
  assert prepared.read_vocabulary(folder) == VOCABULARY
  second = [*prepared.iterate_pictures(folder, 'train')][1]
  assert (second.image_id, second.path) == ('p1.png', 'p1.png')
  assert (second.width, second.height, second.num_regions) == (40, 20, 2)
  assert second.captions[0].text == 'a doggy Ω.'
  boxes = prepared.read_boxes(folder, 'train', {1: 'p1.png'})
  np.testing.assert_array_equal(
    boxes[1], [[0, 0, 1, 1, 1, 1, 1], [0, 0.5, 1, 1, 1, 0.5, 0.5]]
  )
  with pytest.raises(errors.UserError, match='it is p1.png'):
    prepared.read_boxes(folder, 'train', {1: 'p0.png'})
