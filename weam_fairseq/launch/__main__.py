"""python -m weam_fairseq.launch: weam-launch."""

import sys

from .cli import main

sys.exit(main())
