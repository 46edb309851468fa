"""The one exception for what a user can mend: wrong files, wrong options."""


class InputError(ValueError):
    """What must hold, what was found, where, and what to do: one sentence, shown without a traceback."""
