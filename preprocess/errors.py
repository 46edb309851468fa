"""The exception for what a machine did to a run; what a user can mend is weam_fairseq.common's InputError."""

from weam_fairseq.common.errors import InputError


class Unfinished(InputError):
    """A machine failed, not the data: what is done is kept, and --resume goes on with it."""
