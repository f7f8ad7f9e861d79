"""Starts the command line: ``python -m core``. See :mod:`core.service.commands`."""

import sys

from core.service.commands import main

if __name__ == "__main__":
    sys.exit(main())
