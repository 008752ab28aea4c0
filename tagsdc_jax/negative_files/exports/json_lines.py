"""JSON lines: sentence-transformers, ms-swift, TRL and VLM2Vec (MMEB)."""

import json
import os
import shlex
from pathlib import Path
from typing import Any, BinaryIO

from tagsdc_jax.negative_files.exports import encoding, source

_MMEB_FILE = 'train.jsonl'
# As VLM2Vec asks for the caption of a picture; the first word stands for it.
_PICTURE = '<|image_1|>'
_QUERY = f'{_PICTURE}\nFind an image caption describing the given image.\n'
# As in TRL's own examples of preferences.
_PROMPT = 'Describe the image.'


def _write_tuples(given: source.Source, file: BinaryIO) -> None:
  """Writes anchor, positive and the negatives, in this order."""
  for row in given.rows():
    names = (
      ['negative']
      if given.number == 1
      else [f'negative_{i}' for i in range(1, len(row.negatives) + 1)]
    )
    texts = [negative.text for negative in row.negatives]
    encoding.write_line(
      file,
      {
        'anchor': given.path(row.picture),
        'positive': row.record.text,
        **dict(zip(names, texts, strict=True)),
      },
    )


def _read_tuples(given: source.Source, out: Path) -> list[str]:
  most = max((size for size in given.sizes if size), default=0)
  kept = ', '.join(
    f'{sum(n for size, n in given.sizes.items() if size >= number):,} with '
    f'{number}'
    for number in range(1, min(most, 10) + 1)
  )
  return [
    f'captions by --per-caption: {kept}',
    f"read with load_dataset('json', data_files={str(out)!r}, split='train'), "
    'for MultipleNegativesRankingLoss and a model of pictures and texts',
  ]


def _write_swift(given: source.Source, file: BinaryIO) -> None:
  """Writes the picture as the query, and captions as documents."""

  def document(text: str) -> list[dict[str, str]]:
    return [{'role': 'assistant', 'content': text}]

  for row in given.rows():
    encoding.write_line(
      file,
      {
        'messages': [{'role': 'user', 'content': '<image>'}],
        'images': [given.path(row.picture)],
        'positive_messages': [document(row.record.text)],
        'negative_messages': [document(one.text) for one in row.negatives],
      },
    )


def _read_swift(given: source.Source, out: Path) -> list[str]:
  del given
  return [
    f'read with swift sft --dataset {shlex.quote(str(out))} --task_type '
    'generative_reranker --loss_type listwise_reranker (for '
    'Qwen3-VL-Reranker), or --task_type embedding --loss_type infonce (for '
    'Qwen3-VL-Embedding)'
  ]


def _write_dpo(given: source.Source, file: BinaryIO) -> None:
  """Writes a preference of the caption over each negative."""

  def said(role: str, *parts: dict[str, str]) -> list[dict[str, Any]]:
    return [{'role': role, 'content': list(parts)}]

  def text(content: str) -> dict[str, str]:
    return {'type': 'text', 'text': content}

  for row in given.rows():
    for negative in row.negatives:
      encoding.write_line(
        file,
        {
          'images': [given.path(row.picture)],
          'prompt': said('user', {'type': 'image'}, text(_PROMPT)),
          'chosen': said('assistant', text(row.record.text)),
          'rejected': said('assistant', text(negative.text)),
        },
      )


def _read_dpo(given: source.Source, out: Path) -> list[str]:
  del given
  return [
    f"read with load_dataset('json', data_files={str(out)!r}, split='train')"
    ".cast_column('images', datasets.List(datasets.Image())), for DPOTrainer"
  ]


def _write_mmeb(given: source.Source, folder: Path) -> None:
  with open(folder / _MMEB_FILE, 'wb') as file:
    for row in given.rows():
      for text in [one.text for one in row.negatives] or ['']:
        encoding.write_line(
          file,
          {
            'qry': _QUERY,
            'qry_image_path': row.picture,
            'pos_text': row.record.text,
            'pos_image_path': '',
            'neg_text': text,
            'neg_image_path': '',
          },
        )


def _read_mmeb(given: source.Source, out: Path) -> list[str]:
  return [
    'read by VLM2Vec with NAME: {dataset_parser: mmeb, dataset_name: '
    f'{json.dumps(os.path.abspath(out))}, dataset_split: train, image_dir: '
    f'{json.dumps(given.images or source.NO_FOLDER)}, weight: 1}} in the file '
    'of --dataset_config'
  ]


SENTENCE_TRANSFORMERS = source.Format(
  suffix='.jsonl',
  consumer='sentence-transformers',
  content='JSON lines: anchor (the picture), positive, negative, or negative_1 '
  'to negative_N',
  lost='scores, edits and all else but the texts; all rows have N negatives',
  write=_write_tuples,
  hints=_read_tuples,
  without_pictures='sentence-transformers trains on a path that is no file as '
  'if it were a sentence, without a word',
  number=1,
  is_exact=True,
)
MS_SWIFT = source.Format(
  consumer='ms-swift (Qwen3-VL-Embedding and -Reranker)',
  content='JSON lines: messages with the picture, positive_messages, '
  'negative_messages',
  lost='scores, edits and all else but the texts',
  write=_write_swift,
  hints=_read_swift,
  suffix='.jsonl',
  is_suffix_read=True,
  # MAX_NEGATIVE_SAMPLES, from which more would be drawn.
  number=7,
  most=7,
  reserved=(
    '<image>',
    '<video>',
    '<audio>',
    '<bbox>',
    '<ref-object>',
    '<cot-process>',
    '<start-image>',
  ),
)
TRL_DPO = source.Format(
  suffix='.jsonl',
  consumer="TRL's DPOTrainer",
  content='JSON lines: images, prompt, chosen (the caption), rejected (a '
  'negative), a line per negative',
  lost='scores, edits and all else but the texts',
  write=_write_dpo,
  hints=_read_dpo,
)
MMEB = source.Format(
  consumer='VLM2Vec (the columns of MMEB)',
  content=f'a folder with {_MMEB_FILE}, a line per negative',
  lost='scores, edits and all else but the texts; VLM2Vec (as of January 2026) '
  'reads neg_text but its loss does not use it',
  write=_write_mmeb,
  hints=_read_mmeb,
  is_folder=True,
  # A caption that stands twice in a batch is its own negative.
  number=1,
  keeps_bare=True,
  reserved=(_PICTURE,),
)
