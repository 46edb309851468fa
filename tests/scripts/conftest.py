"""The scripts import each other by name, as Python's own search path lets them when one is run."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
