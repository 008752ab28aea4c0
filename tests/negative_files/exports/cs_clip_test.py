"""CS-CLIP's units of captions, worked by hand."""

import pytest

from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import cs_clip, source
from tests.negative_files.exports import making


def _units(text, *negatives, **phrases):
  record = records.Captioned(
    'c',
    'picture',
    'train/1.jpg',
    text,
    1.0,
    phrases=making.phrases(text, **phrases),
    negatives=negatives,
  )
  return cs_clip.units(source.Row(record, negatives, record.path))


MAN = making.MAN
OF_MAN = {
  'object': ['man', 'coat', 'dog'],
  'attribute': ['red', 'small', 'white'],
  'relation': ['in', 'holds'],
}


def test_a_sample():
  sample, num_whole = _units(
    MAN,
    making.negative(MAN, ('object', 'dog', 'cat')),
    making.negative(MAN, ('attribute', 'white', 'black')),
    making.negative(MAN, ('object', 'dog', 'cat')),
    making.negative(MAN, ('relation', 'holds', 'sees')),
    making.negative(MAN, ('relation', 'holds', 'sees')),
    **OF_MAN,
  )
  assert sample == {
    'sample_id': 'picture',
    'original_caption': MAN,
    'entities': ['man', 'red coat', 'small white dog'],
    'negative_entities': {
      'small white dog': [
        {'negative': 'small white cat', 'change_type': 'object_change'},
        {'negative': 'small black dog', 'change_type': 'attribute_change'},
      ]
    },
    'relations': [
      {
        'subject': 'man',
        'relation_type': 'in',
        'object': 'red coat',
        'negatives': [],
      },
      {
        'subject': 'red coat',
        'relation_type': 'holds',
        'object': 'small white dog',
        'negatives': [
          {
            'subject': 'red coat',
            'relation_type': 'sees',
            'object': 'small white dog',
            'change_type': 'relation_change',
          }
        ],
      },
    ],
    'swap_negatives': [
      {'negative': 'A man in a red coat holds a small white cat'},
      {'negative': 'A man in a red coat holds a small black dog'},
      {'negative': 'A man in a red coat holds a small white cat'},
      {'negative': 'A man in a red coat sees a small white dog'},
      {'negative': 'A man in a red coat sees a small white dog'},
    ],
    'image_path': 'train/1.jpg',
  }
  assert num_whole == 0


@pytest.mark.parametrize('text', ['A dog chases a cat', 'dog chases a cat'])
def test_a_swap_of_subject_and_object(text):
  swapped = making.negative(
    text, ('object', 'dog', 'cat'), ('object', 'cat', 'dog')
  )
  sample, num_whole = _units(
    text, swapped, object=['dog', 'cat'], relation=['chases']
  )
  assert sample['relations'][0]['negatives'] == [
    {
      'subject': 'cat',
      'relation_type': 'chases',
      'object': 'dog',
      'change_type': 'subject_object_swap',
    }
  ]
  assert not sample['negative_entities'] and num_whole == 0


def test_a_swap_at_the_start_of_a_sentence():
  # The new first word is a capital, the old one no longer.
  text = 'Dogs chase cats'
  swapped = making.negative(
    text, ('object', 'Dogs', 'Cats'), ('object', 'cats', 'dogs')
  )
  sample, _ = _units(text, swapped, object=['Dogs', 'cats'], relation=['chase'])
  assert [one['subject'] for one in sample['relations'][0]['negatives']] == [
    'cats'
  ]


def test_edits_of_several_units_are_kept_as_whole_sentences():
  sample, num_whole = _units(
    MAN,
    making.negative(MAN, ('object', 'man', 'boy'), ('object', 'dog', 'cat')),
    making.negative(
      MAN, ('object', 'dog', 'cat'), ('attribute', 'small', 'large')
    ),
    making.negative(MAN, ('token', 'a', 'the')),
    **OF_MAN,
  )
  assert num_whole == 2
  assert len(sample['swap_negatives']) == 3
  assert sample['negative_entities'] == {
    'small white dog': [
      {'negative': 'large white cat', 'change_type': 'several_change'}
    ]
  }


def test_words_that_are_added_and_taken_away():
  text = 'the red dog runs'
  edit = records.Edit('attribute', 4, 7, 'red', '', 3)
  gone = records.Negative('the dog runs', 0.5, 'mine', (edit,))
  edit = records.Edit('attribute', 8, 8, '', 'old ', 8)
  added = records.Negative('the red old dog runs', 0.5, 'mine', (edit,))
  sample, _ = _units(text, gone, added, object=['dog'], attribute=['red'])
  assert [
    one['negative'] for one in sample['negative_entities']['red dog']
  ] == ['dog', 'red old dog']


def test_entities_that_stand_elsewhere_first_are_none():
  # The sampler would replace "man" within "woman".
  text = 'a woman and a man near a man'
  sample, num_whole = _units(
    text,
    making.negative(text, ('object', 'man', 'boy')),
    object=['woman', 'man'],
  )
  assert sample['entities'] == ['woman']
  assert not sample['negative_entities'] and num_whole == 1


def test_objects_within_objects_and_attributes_around_them():
  text = 'two tennis balls that are old'
  sample, _ = _units(
    text,
    object=['tennis', 'tennis balls'],
    attribute=['two', 'old', 'two tennis balls'],
  )
  assert sample['entities'] == ['two tennis balls']
  sample, _ = _units(
    text, object=['tennis balls', 'balls'], attribute=['two', 'old']
  )
  assert sample['entities'] == ['two tennis balls']


def test_phrases_in_two_pieces_are_none():
  text = 'a dog is lying on a mat'
  sample, _ = _units(
    text, object=['dog', 'mat'], relation=[['is', 'on'], 'lying']
  )
  assert [one['relation_type'] for one in sample['relations']] == ['lying']


def test_relations_without_an_object_on_both_sides():
  text = 'standing near a dog that runs'
  sample, _ = _units(text, object=['dog'], relation=['near', 'runs'])
  assert sample['relations'] == []
