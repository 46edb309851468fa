"""How torch's threads wait. Call before torch is imported."""

import os


def wait_without_spinning() -> None:
    """Lets idle OpenMP threads sleep instead of spinning, unless the environment says otherwise.

    With a data worker, or anything else, on the same cores, spinning threads hold up those that work: an update of
    weam_mini took ten times as long on two cores that were shared. On idle cores the difference is a few percent.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
