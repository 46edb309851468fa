"""The one exception that stands for the user's data or flags being wrong; `main()` prints it as one line."""


class InputError(ValueError):
    """A full sentence: what must hold, what was found, where, and what to do."""
