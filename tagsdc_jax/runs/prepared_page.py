"""Stand-in."""

from pathlib import Path


def write_page(folder: Path) -> Path:
  """Returns it."""
  return folder / 'page.html'
