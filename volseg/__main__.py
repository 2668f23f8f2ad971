"""``python -m volseg``: the command line where the script ``volseg`` is not on the path."""

import sys

from volseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
