"""The command weam-to-hf, for those who look for it among the scripts: python scripts/convert_to_hf.py --help."""

import sys

from weam_fairseq.convert.to_hf import main

if __name__ == "__main__":
    sys.exit(main())
