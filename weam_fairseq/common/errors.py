"""The exception for errors that the user can fix, such as wrong files or options."""


class InputError(ValueError):
    """Its message says what must hold, what was found, where, and what to do. It is shown without a traceback."""


def reason_of(error: BaseException) -> str:
    """Formats a library's error for one of our messages: one line, at most 300 characters, whole sentences."""
    text = " ".join(str(error).split())
    if len(text) > 300:
        whole, _, _ = text[:300].rpartition(". ")
        text = whole or f"{text[:299]}…"
    text = text.rstrip(".")
    # The text of a KeyError is only the key.
    return f"{type(error).__name__} {text}" if not text or isinstance(error, KeyError) else text
