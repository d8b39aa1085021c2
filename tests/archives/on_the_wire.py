"""What goes over the wire between a client and the server of the tests: disturbing it, and what was asked for."""

from collections.abc import Sequence

from imgmine.demo.server import ArchiveServer


def disturb(server: ArchiveServer, cuts: Sequence[int], ignored: int) -> None:
    """Cut answers, one after the other, after so many bytes of a file, and ignore so many ranges; nothing else."""
    server.faults.clear()
    for cut in cuts:
        server.faults.add("cut", after=cut, path="*/items/*")
    if ignored:
        server.faults.add("ignore_range", times=ignored)


def ranges(server: ArchiveServer) -> list[str | None]:
    """What was asked of the machine that has the files."""
    return [request.range for request in server.requests if "/items/" in request.path]
