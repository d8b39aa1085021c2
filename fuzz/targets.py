"""The targets by name. Each is imported only when it is asked for: one needs OpenCV, which others must not load."""

from importlib import import_module

from fuzz.target import Target

NAMES = ("warc", "http", "walk", "frames", "stills", "cdx", "containers")


def target(name: str) -> Target:
    """Return the target of this name, one of `NAMES`."""
    found: Target = import_module(f"fuzz.{name}").TARGET
    return found
