"""The one exception for what a user can mend: wrong files, wrong options."""


class InputError(ValueError):
    """What must hold, what was found, where, and what to do: one sentence, shown without a traceback."""


def reason_of(error: BaseException) -> str:
    """What a library's error says, on one line and cut after 300 characters, for a sentence of ours."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    # The text of a KeyError is the key alone.
    return f"{type(error).__name__} {text}" if not text or isinstance(error, KeyError) else text
