"""``python -m surrogate_nas.cli``: the command line without its script."""

from __future__ import annotations

import sys

from surrogate_nas.cli import main

if __name__ == "__main__":
    sys.exit(main())
