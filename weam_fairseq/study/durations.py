"""Seconds as a person says them."""


def duration(seconds: float) -> str:
    """`12 s`, `5 min 3 s`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for large, small, unit in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            return f"{whole // large} {unit[0]} {whole % large // small} {unit[1]}"
    raise AssertionError
