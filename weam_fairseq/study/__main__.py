"""python -m weam_fairseq.study: weam-study."""

import sys

from weam_fairseq.study.cli import main

sys.exit(main())
