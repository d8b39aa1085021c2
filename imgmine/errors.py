"""The base of every error that imgmine raises for a person to read.

Subclasses live beside the code that raises them and carry the archive, the file and the offset they are about.
"""


class ImgmineError(Exception):
    """Something that a person can act on; the message says what happened, where, and what to do."""


class PersonNeeded(ImgmineError):
    """What comes again until a person changes a setting, a file or what is asked for. Trying again does not help."""


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without a full stop."""
    return str(error).split("\n", 1)[0].rstrip(".")
