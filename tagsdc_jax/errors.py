"""The one exception that the command line shows as a line of text."""


class UserError(Exception):
  """Bad input or setting: names the thing, what was expected, what came.

  `tagsdc` prints it as one line and leaves with exit code 2, so its text must
  stand alone: say what to change.
  """
