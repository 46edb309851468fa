"""The command weam-from-hf, for those who look for it among the scripts: python scripts/convert_from_hf.py --help."""

import sys

from weam_fairseq.convert.from_hf import main

if __name__ == "__main__":
    sys.exit(main())
