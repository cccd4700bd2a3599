"""The command line as ``python -m surrogate_nas.cli``, where its script is not installed."""

from __future__ import annotations

import sys

from surrogate_nas.cli import main

if __name__ == "__main__":
    sys.exit(main())
