"""The exception for errors that the user can fix, such as wrong files or options."""


class InputError(ValueError):
    """Its message says what must hold, what was found, where, and what to do. It is shown without a traceback."""


def reason_of(error: BaseException) -> str:
    """Formats a library's error for one of our messages: one line of at most 300 characters."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    # The text of a KeyError is only the key.
    return f"{type(error).__name__} {text}" if not text or isinstance(error, KeyError) else text
