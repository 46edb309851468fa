"""The exceptions that stand for what a user can mend; `main()` prints them as one line."""


class InputError(ValueError):
    """A full sentence: what must hold, what was found, where, and what to do."""


class Unfinished(InputError):
    """A machine failed, not the data: what is done is kept, and --resume goes on with it."""
