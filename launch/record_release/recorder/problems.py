"""The exception that is shown to users as a line of text."""


class Problem(Exception):
  """Invalid input. States the input, what is expected, and what to do."""
