"""The page of foil files."""

from tagsdc_jax.reporting.page import content, foil_content, foils
from tests.reporting.foils_test import benchmark, results
from tests.reporting.page_rendering_test import Reader

_EVIL = '<script>alert(1)</script>&'


def _page(found, **more):
  page = foil_content.Page('runs', found, **more)
  text = foils.render(page)
  assert text == foils.render(page)
  return Reader(text), text


def test_everything_is_on_it_and_escaped():
  one = benchmark([(_EVIL, 1), (_EVIL, -1), ('swap', 1)], family=_EVIL)
  example = foil_content.Example(
    _EVIL,
    False,
    [content.Picture(_EVIL, None, [(0, 0, 0.5, 1)])],
    [
      foil_content.Sentence(
        [foil_content.Piece('a'), foil_content.Piece(_EVIL, True)],
        is_caption,
        [score],
      )
      for is_caption, score in ((False, 1e4), (True, -1e4))
    ],
    3,
  )
  _, text = _page(results(one), notes=[_EVIL], examples={_EVIL: [example]})
  assert '<script' not in text
  assert text.count('&lt;script&gt;') > 8
  # All of it, and the mean of two kinds.
  assert '50.0' in text and '66.7' in text and '75.0' in text
  assert 'class="outcome bad"' in text and '3 more foils score lower' in text
  assert '100.0' in text and '0.0' in text  # The probabilities.


def test_tasks_alone_and_nothing():
  share = {'count': 4, 'right': 1, 'accuracy': 25.0, 'low': 4.6, 'high': 69.9}
  tasks = {
    'classify': share | {'captions': share, 'foils': share},
    'find': None,
    'mend': None,
    'unknown': 0,
  }
  found = results(
    benchmark([], splits={}, tasks=tasks), benchmark([], splits={})
  )
  _, text = _page(found)
  assert text.count('<section id=') == 1
  assert 'needs the word heads of stage 2' in text and '4.6 – 69.9' in text


def test_hundreds_of_kinds():
  _, text = _page(results(benchmark([(f'k{i}', 1) for i in range(100)])))
  assert '40 more kinds are in the results of --json' in text
  assert text.count('class="lane"') == 62
