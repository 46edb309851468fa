"""python -m weam_fairseq.launch: weam-launch."""

import sys

from weam_fairseq.launch.cli import main

sys.exit(main())
