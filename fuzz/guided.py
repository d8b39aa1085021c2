"""One target under atheris, in a process of its own: `python -m fuzz.guided TARGET LIBFUZZER-OPTIONS…`.

libFuzzer chooses the cases by the coverage of imgmine's code, and ends the process.
"""

import sys

import atheris

from fuzz.targets import target


def main() -> None:
    """Run the target; does not return."""
    with atheris.instrument_imports(include=["imgmine"]):
        chosen = target(sys.argv[1])
    atheris.Setup([sys.argv[0], *sys.argv[2:]], chosen.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
