"""python -m weam_fairseq.study.grid: weam-study."""

import sys

from .cli import main

sys.exit(main())
