"""Numbers as people read them: bytes, durations, and how many there are of something."""


def readable_bytes(amount: float) -> str:
    """Return `10.2 GiB`, `340 KiB`, `12 B`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def readable_seconds(seconds: float) -> str:
    """Return `12 s`, `3 min 20 s`, `4 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(number: int, noun: str) -> str:
    """Return `1 file`, `2 files`, `0 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
