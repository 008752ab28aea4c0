"""Exports read back as their consumers read them, and what is left out."""

import dataclasses
import json
import os
import shlex

import pytest

from tagsdc_jax import errors
from tagsdc_jax.negative_files import records
from tagsdc_jax.negative_files.exports import source, writing
from tests.negative_files.exports import making, stand_ins

# Formats that join the folder with the paths; the others take it apart.
JOINED = ('negclip', 'sentence-transformers', 'ms-swift', 'trl-dpo')
WITH_PICTURES = ('tripletclip', 'webdataset')
READERS = {
  'negclip': stand_ins.read_negclip,
  'sentence-transformers': stand_ins.read_sentence_transformers,
  'ms-swift': stand_ins.read_ms_swift,
  'trl-dpo': stand_ins.read_trl_dpo,
  'sugarcrepe': stand_ins.read_sugarcrepe,
  'degla': stand_ins.read_degla,
  'cs-clip': stand_ins.read_cs_clip,
  'trohn': stand_ins.read_trohn,
  'mmeb': stand_ins.read_mmeb,
  'tripletclip': stand_ins.read_tripletclip,
  'webdataset': stand_ins.read_webdataset,
}


@pytest.fixture(name='file')
def _file(tmp_path):
  making.write_photos(tmp_path / 'photos')
  return making.write(tmp_path / 'all.jsonl', photos=tmp_path / 'photos')


def _name(name):
  return f'out.{name}{writing.FORMATS[name].suffix}'


def _export(file, name, **options):
  out = file.path.parent / _name(name)
  return out, writing.write(file, out, name, source.Options(**options))


def _picture(file, name, record):
  """Returns a picture as a reader of the format gets it."""
  path = file.path.parent / 'photos' / record.path
  if name in WITH_PICTURES:
    return path.read_bytes()
  return str(path) if name in JOINED else record.path


def _said(report, start):
  (line,) = [line for line in report.lines if line.startswith(start)]
  return line


def test_all_formats_are_tested():
  assert list(READERS) == list(writing.FORMATS)


@pytest.mark.parametrize('name', list(writing.FORMATS))
@pytest.mark.parametrize('number', [None, 2])
def test_counts_and_texts_are_those_of_the_file(name, number, file):
  form = writing.FORMATS[name]
  most = number or form.number or 99
  wanted = [
    (
      _picture(file, name, record),
      record.text,
      [negative.text for negative in record.negatives[:most]],
    )
    for record in making.CAPTIONS
    if form.keeps_bare
    or len(record.negatives) >= (most if form.is_exact else 1)
  ]
  out, report = _export(file, name, per_caption=number)
  found = READERS[name](out)
  if name == 'sugarcrepe':
    found = [row for rows in found.values() for row in rows]
    triples = [(*row[:2], [text]) for row in wanted for text in row[2]]
    assert sorted(found) == sorted(triples)
  elif name == 'tripletclip':
    triples = [(*row[:2], [text]) for row in wanted for text in row[2]]
    assert [row[:3] for row in found] == triples
  elif name == 'degla':
    cycled = [(*row[:2], (row[2] * 4)[:4]) for row in wanted]
    assert [(os.path.basename(p), *rest) for p, *rest in found] == [
      (os.path.basename(p), *rest) for p, *rest in cycled
    ]
  else:
    assert found == wanted
  assert report.num_captions == len(wanted)
  assert report.num_negatives == sum(len(row[2]) for row in wanted)
  assert _said(report, f'wrote {out} for ').endswith(
    f': {report.num_captions} captions, {report.num_negatives} negatives'
  )
  assert not any('\n' in line for line in report.lines)


@pytest.mark.parametrize('name', list(writing.FORMATS))
def test_bytes_depend_on_the_file_only(name, file, tmp_path):
  out, _ = _export(file, name)
  again = tmp_path / f'again{writing.FORMATS[name].suffix}'
  writing.write(file, again, name)
  one, other = (
    {p.relative_to(top): p.read_bytes() for p in top.rglob('*') if p.is_file()}
    if top.is_dir()
    else {'': top.read_bytes()}
    for top in (out, again)
  )
  assert one == other and one


def test_what_is_left_out_is_counted(file):
  lines = _export(file, 'sentence-transformers', per_caption=2)[1].lines
  assert 'left out: 1 captions without negatives' in lines
  assert 'left out: 1 captions with fewer than 2 negatives' in lines
  # Four of the man, two of the tricky one.
  assert 'left out: 6 negatives after the first 2 of their caption' in lines
  assert (
    'captions by --per-caption: 4 with 1, 3 with 2, 2 with 3, 2 with 4, '
    '1 with 5, 1 with 6' in lines
  )
  for name in ('mmeb', 'webdataset'):
    assert not [
      line for line in _export(file, name)[1].lines if 'without neg' in line
    ]


@pytest.mark.parametrize('number', [1, 3])
def test_columns_of_sentence_transformers(number, file):
  out, _ = _export(file, 'sentence-transformers', per_caption=number)
  row = json.loads(out.read_text('utf-8').splitlines()[0])
  negatives = (
    ['negative'] if number == 1 else ['negative_1', 'negative_2', 'negative_3']
  )
  assert list(row) == ['anchor', 'positive', *negatives]


def test_degla_gets_four_negatives_and_finds_its_pictures(file):
  out, report = _export(file, 'degla')
  samples = json.loads(out.read_text('utf-8'))
  assert [one['image_id'] for one in samples] == [9, 9, 25, 30]
  assert [len(one['enhanced']) for one in samples] == [6, 4, 4, 4]
  assert samples[1]['enhanced'] == ['Someone carries an egg'] * 4
  first, second = samples[2]['enhanced'][:2]
  assert samples[2]['enhanced'] == [first, second] * 2 and first != second
  assert "repeated: 2 captions' negatives" in '\n'.join(report.lines)
  assert 'not used by DeGLA: 2 negatives after the first 4' in '\n'.join(
    report.lines
  )
  assert 'not found by DeGLA' not in '\n'.join(report.lines)


def _renamed(names):
  return [
    dataclasses.replace(record, path=name)
    for record, name in zip(making.CAPTIONS, names, strict=True)
  ]


@pytest.mark.parametrize(
  'names, message',
  [
    (['a9.jpg', 'a9.jpg', 'b.jpg', 'b.jpg', 'c1.jpg'], "one is named 'b.jpg'"),
    (
      ['a/9.jpg', 'a/9.jpg', 'b/009.png', 'b/009.png', '1.jpg'],
      'a/9.jpg and b/009.png both have 9',
    ),
  ],
)
def test_degla_needs_numbers(names, message, tmp_path):
  file = making.write(tmp_path / 'all.jsonl', _renamed(names))
  with pytest.raises(errors.UserError, match=message):
    writing.write(file, tmp_path / 'out', 'degla')
  assert [path.name for path in tmp_path.iterdir()] == ['all.jsonl']


def test_degla_is_told_what_it_will_not_find(tmp_path):
  names = ['1.jpg', '1.jpg', 'x/COCO_val2014_000000000002.jpg', 'y2', '3.jpg']
  report = _export(
    making.write(tmp_path / 'all.jsonl', _renamed(names)), 'degla'
  )[1]
  assert _said(report, 'not found by DeGLA: 4 captions whose picture is not ')


def test_sugarcrepe_has_a_file_per_kind(file):
  out, report = _export(file, 'sugarcrepe')
  found = stand_ins.read_sugarcrepe(out)
  texts = {
    name: [negative for _, _, (negative,) in rows]
    for name, rows in found.items()
  }
  assert (
    texts['replace_obj'][0] == 'A man in a red coat holds a small white cat'
  )
  assert texts['replace_att'][0] == (
    'A man in a blue coat holds a small white dog'
  )
  assert texts['replace_rel'] == [
    'A man in a red coat is next to a small white dog',
    'A dog chases away a cat',
  ]
  assert texts['swap_obj'] == [
    'A coat in a red man holds a small white dog',
    'A cat chases a dog',
  ]
  assert texts['replace_several'] == [
    'A man in a red coat holds a small old hat'
  ]
  assert len(texts['replace_token']) == 2
  assert 'swap_obj.json: 2 negatives' in report.lines
  assert _said(report, 'main_eval.py also opens add_obj, add_att, swap_att, ')
  keys = list(json.loads((out / 'replace_obj.json').read_text('utf-8')))
  assert keys == ['0', '1', '2', '3']


def test_a_swap_of_unequal_phrases_is_a_swap_of_their_kind(tmp_path):
  # The word between them has moved, and is an edit as well.
  text = 'a big old dog near cats'
  one = making.negative(
    text,
    ('object', 'big', 'cats'),
    ('token', 'old', 'near'),
    ('object', 'dog near cats', 'a big old dog'),
  )
  one = dataclasses.replace(one, text='a cats near big old dog')
  record = records.Captioned('1', '1', '1.jpg', text, 1.0, negatives=(one,))
  file = making.write(tmp_path / 'all.jsonl', [record])
  out, _ = _export(file, 'sugarcrepe')
  assert [path.name for path in out.iterdir()] == ['swap_obj.json']


def test_what_a_reader_takes_for_something_else_is_left_out(tmp_path):
  text = 'A sign says word'
  odd = records.Captioned(
    '1',
    '1',
    '1.jpg',
    'None',
    1.0,
    negatives=(making.negative('None', ('token', 'None', 'Some')),),
  )
  tagged = records.Captioned(
    '2',
    '2',
    '2.jpg',
    text,
    1.0,
    negatives=(
      making.negative(text, ('token', 'word', '<image>')),
      making.negative(text, ('token', 'word', '<|image_1|>')),
      making.negative(text, ('token', 'sign', 'horse')),
    ),
  )
  plain = making.CAPTIONS[2]
  file = making.write(tmp_path / 'all.jsonl', [odd, tagged, plain])
  out, report = _export(file, 'negclip')
  assert [row[1] for row in stand_ins.read_negclip(out)] == [text, plain.text]
  assert 'left out: 1 captions that are read as missing' in report.lines
  out, report = _export(file, 'ms-swift')
  assert [row[2] for row in stand_ins.read_ms_swift(out)][1] == [
    'A sign says <|image_1|>',
    'A horse says word',
  ]
  assert _said(report, 'left out: 1 negatives that contain <image> or <video>')
  out, report = _export(file, 'mmeb', per_caption=9)
  assert stand_ins.read_mmeb(out)[1][2] == [
    'A sign says <image>',
    'A horse says word',
  ]


@pytest.mark.parametrize('name', ['negclip', 'trohn'])
@pytest.mark.parametrize('odd', ['\r', '\n', '\t', '"', "'", ',', '\v'])
def test_a_field_of_a_table_with_one_odd_character(name, odd, tmp_path):
  text = f'one{odd}two'
  record = dataclasses.replace(
    making.CAPTIONS[0],
    text=text,
    negatives=(making.negative(text, ('token', 'two', f'{odd}2')),),
  )
  file = making.write(tmp_path / 'all.jsonl', [record, making.CAPTIONS[2]])
  out, _ = _export(file, name)
  assert READERS[name](out)[0][1:] == (text, [f'one{odd}{odd}2'])


def test_negatives_that_may_be_true_are_counted(tmp_path):
  first, second, *rest = making.CAPTIONS[0].negatives
  record = dataclasses.replace(
    making.CAPTIONS[0],
    negatives=(
      dataclasses.replace(first, is_caption=True, is_contained=True),
      dataclasses.replace(second, is_contained=True),
      *rest,
    ),
  )
  file = making.write(tmp_path / 'all.jsonl', [record])
  line = 'negatives that stand in another caption of their picture'
  assert f'perhaps true: 2 {line}' in _export(file, 'trohn')[1].lines
  report = _export(file, 'ms-swift', per_caption=1)[1]
  assert f'perhaps true: 1 {line}' in report.lines


def test_pictures_that_are_missing(file, tmp_path):
  (tmp_path / 'photos' / making.CAPTIONS[0].path).unlink()
  report = _export(file, 'sentence-transformers')[1]
  # Two captions of one picture.
  line = _said(report, 'missing: the pictures of 2 captions, the first is ')
  assert making.CAPTIONS[0].path in line and 'if it were a sentence' in line
  for name in WITH_PICTURES:
    with pytest.raises(errors.UserError, match='pictures, but 1 are missing'):
      _export(file, name)
    assert not (tmp_path / f'out.{name}').exists()
  assert not [line for line in report.lines if 'relative' in line]


def test_a_folder_of_pictures(file, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'photos').rename(tmp_path / 'other')
  out, report = _export(file, 'negclip', images='other')
  assert [row[0] for row in stand_ins.read_negclip(out)][:1] == [
    f'other/{making.CAPTIONS[0].path}'
  ]
  assert _said(report, f'paths are relative to {tmp_path}; start the reader ')
  out, report = _export(file, 'trohn', images='other')
  assert '--img-path other,' in report.lines[-1]


def test_image_ids_stand_for_paths(tmp_path):
  records_ = [dataclasses.replace(one, path='') for one in making.CAPTIONS]
  file = making.write(tmp_path / 'all.jsonl', records_)
  out, report = _export(file, 'trohn')
  assert [row[0] for row in stand_ins.read_trohn(out)] == ['9', '9', '25', '30']
  assert _said(report, 'without a path: the pictures of 4 captions; ')
  for name in WITH_PICTURES:
    with pytest.raises(errors.UserError, match='3 are missing, the first is 9'):
      _export(file, name)


@pytest.mark.parametrize(
  'content, suffix',
  [
    (b'\xff\xd8\xff\xdb', 'jpg'),
    (b'\x89PNG\r\n\x1a\n', 'png'),
    (b'RIFF\n\0\0\0WEBPVP8', 'webp'),
  ],
)
def test_pictures_are_called_what_they_are(content, suffix, file, tmp_path):
  (tmp_path / 'photos' / making.CAPTIONS[0].path).write_bytes(content)
  out, _ = _export(file, 'webdataset')
  (key, sample), *_ = stand_ins.samples(out / '00000.tar')
  assert key == '000000000'
  assert sample[suffix] == content


def test_what_is_no_picture(file, tmp_path):
  (tmp_path / 'photos' / making.CAPTIONS[-1].path).write_bytes(b'GIF89a')
  for name in WITH_PICTURES:
    with pytest.raises(
      errors.UserError, match="or WebP file, but begins with b'GIF89a'"
    ):
      _export(file, name)
  assert not list(tmp_path.glob('*out*'))


def test_shards(file, monkeypatch):
  monkeypatch.setattr(writing.tars, '_SAMPLES_PER_SHARD', 2)
  out, report = _export(file, 'webdataset')
  assert sorted(path.name for path in out.iterdir()) == [
    '00000.tar',
    '00001.tar',
    '00002.tar',
  ]
  assert [row[1] for row in stand_ins.read_webdataset(out)] == [
    one.text for one in making.CAPTIONS
  ]
  assert "out.webdataset/{00000..00002}.tar'" in report.lines[-1]
  # As many triplets in a shard as it takes for the reader's fixed number.
  monkeypatch.setattr(writing.tars, '_TRIPLETS_PER_SHARD', 1)
  monkeypatch.setattr(writing.tars, '_MOST_SHARDS', 3)
  out, _ = _export(file, 'tripletclip', per_caption=9)
  assert sorted(path.name for path in out.iterdir()) == [
    'shard-0.tar',
    'shard-1.tar',
    'shard-2.tar',
  ]
  assert len(stand_ins.read_tripletclip(out)) == 13


def test_the_other_picture_of_a_triplet_is_near_its_negative(file):
  out, _ = _export(file, 'tripletclip', per_caption=9)
  other = {
    row[2][0]: row[3].decode(errors='ignore').split()[-1]
    for row in stand_ins.read_tripletclip(out)
  }
  # "A dog chases a cat" is the only caption of another picture with a cat.
  assert other['A man in a red coat holds a small white cat'] == (
    'COCO_train2014_000000000025.jpg'
  )
  assert other['A cat chases a dog'] == 'COCO_train2014_000000000009.jpg'


# Damage.


@pytest.mark.parametrize('name', list(writing.FORMATS))
@pytest.mark.parametrize('cut', [1, 300])
def test_a_file_that_ends_early_leaves_nothing(name, cut, file, tmp_path):
  content = file.path.read_bytes()
  file.path.write_bytes(content[:-cut])
  before = sorted(tmp_path.iterdir())
  with pytest.raises(errors.UserError, match='line 6 is damaged .*generate'):
    _export(file, name)
  assert sorted(tmp_path.iterdir()) == before
  whole = content.splitlines(keepends=True)
  file.path.write_bytes(b''.join(whole[:-1]))
  with pytest.raises(errors.UserError, match='has 4 captions.* says 5'):
    _export(file, name)
  assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
  'old, new',
  [
    ('"path": "COCO_train2014_000000000009.jpg"', '"path": 5'),
    ('"image_id": "9"', '"image_id": null'),
    ('"score": 2.5', '"score": NaN'),
    ('"score": 2.5', '"score": 1e999'),
    ('"new_start": 40', '"new_start": "40"'),
    ('"kind": "object"', '"kind": ["object"]'),
    ('"source": "mask_refill"', '"source": 1'),
    ('"is_caption": false', '"is_caption": 0'),
    ('"corrected": null', '"corrected": 1'),
    ('"fluency": null', '"fluency": true'),
    ('"dropped": {}', '"dropped": []'),
  ],
)
def test_values_of_another_type(old, new, file):
  content = file.path.read_text('utf-8')
  assert old in content
  file.path.write_text(content.replace(old, new, 1), 'utf-8')
  with pytest.raises(errors.UserError, match='line 2 is damaged'):
    _export(file, 'cs-clip')


def test_a_negative_without_edits_is_damage(file):
  text = file.path.read_text('utf-8')
  begin = text.index('"edits": [')
  end = text.index('}]', begin)
  file.path.write_text(f'{text[:begin]}"edits": [{text[end + 1 :]}', 'utf-8')
  with pytest.raises(errors.UserError, match='a negative has no edits'):
    _export(file, 'cs-clip')


def test_characters_that_are_no_text(file, tmp_path):
  content = file.path.read_text('utf-8').replace('Someone', '\\ud800')
  file.path.write_text(content, 'utf-8')
  for name in sorted(writing.FORMATS):
    with pytest.raises(errors.UserError, match='no Unicode text'):
      _export(file, name)
    assert not (tmp_path / f'out.{name}').exists()


@pytest.mark.parametrize('name', list(writing.FORMATS))
def test_nothing_to_write(name, tmp_path):
  record = dataclasses.replace(making.CAPTIONS[3])
  making.write_photos(tmp_path, [record])
  form = writing.FORMATS[name]
  captions = [] if form.keeps_bare else [record]
  file = making.write(tmp_path / 'all.jsonl', captions, tmp_path)
  with pytest.raises(errors.UserError) as caught:
    _export(file, name)
  message = (
    f'has nothing for {name}; generate'
    if form.keeps_bare
    else 'captions of 0'
    if name in ('negclip', 'tripletclip')
    else f'nothing for {name}: 1 captions without negatives'
  )
  assert message in str(caught.value)
  assert not (tmp_path / f'out.{name}').exists()


def test_one_picture_is_too_few_for_others(tmp_path):
  making.write_photos(tmp_path, making.CAPTIONS[:2])
  file = making.write(tmp_path / 'all.jsonl', making.CAPTIONS[:2], tmp_path)
  for name in ('negclip', 'tripletclip'):
    with pytest.raises(errors.UserError, match='has captions of 1; generate'):
      _export(file, name)


def test_targets_that_cannot_be_written(file, tmp_path):
  there = tmp_path / 'there.jsonl'
  there.mkdir()
  (there / 'a').touch()
  for name in sorted(writing.FORMATS):
    is_folder = writing.FORMATS[name].is_folder
    with pytest.raises(
      errors.UserError,
      match='already exists' if is_folder else 'Is a directory',
    ):
      writing.write(file, there, name)
    with pytest.raises(errors.UserError, match='folder .*missing is missing'):
      writing.write(file, tmp_path / 'missing' / there.name, name)
  assert [path.name for path in there.iterdir()] == ['a']


def test_the_file_of_negatives_is_not_replaced(file):
  before = file.path.read_bytes()
  with pytest.raises(errors.UserError, match='are the same file'):
    writing.write(file, file.path, 'negclip')
  assert file.path.read_bytes() == before


def test_a_full_disk_is_named(file, monkeypatch, tmp_path):
  def fail(self, *_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(writing.json_lines.encoding, 'write_line', fail)
  for name in ('ms-swift', 'mmeb'):
    with pytest.raises(
      errors.UserError, match=f'{_name(name)} cannot be written'
    ):
      _export(file, name)
  assert not [path for path in tmp_path.iterdir() if 'out' in path.name]


def test_too_many_for_the_reader(file):
  with pytest.raises(errors.UserError, match='at most 7 .*--per-caption 8'):
    _export(file, 'ms-swift', per_caption=8)


def test_a_reader_that_goes_by_the_suffix(file, tmp_path):
  with pytest.raises(errors.UserError, match='must be .jsonl, got out.json;'):
    writing.write(file, tmp_path / 'out.json', 'ms-swift')


def test_an_empty_folder_is_taken(file, tmp_path):
  (tmp_path / 'out.mmeb').mkdir()
  out, _ = _export(file, 'mmeb')
  assert [path.name for path in out.iterdir()] == ['train.jsonl']


def test_paths_in_hints_can_be_pasted(tmp_path):
  folder = tmp_path / "o'ne two"
  folder.mkdir()
  making.write_photos(folder / 'photos')
  file = making.write(folder / 'all.jsonl', photos=folder / 'photos')
  for name in sorted(writing.FORMATS):
    out, report = _export(file, name)
    line = report.lines[-1]
    if name in ('sentence-transformers', 'trl-dpo', 'trohn'):
      assert repr(str(out)) in line
    elif name == 'mmeb':
      assert json.dumps(str(out)) in line
    else:
      made = f'{out}/00000.tar' if name == 'webdataset' else str(out)
      assert shlex.quote(made) in line
