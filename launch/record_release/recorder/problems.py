"""The one exception that is shown as a line of text."""


class Problem(Exception):
  """Bad input: names the thing, what was expected, what came, what to do."""
