"""The exception for failures of the machine; a mistake of the user is weam_fairseq.common's InputError."""

from weam_fairseq.common.errors import InputError


class Unfinished(InputError):
    """The machine failed, not the data. Finished parts are kept, and --resume continues with them."""
