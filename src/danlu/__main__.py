"""`python -m danlu ...`: the command line, for where the `danlu` script is not on the path."""

import sys

from danlu.cli import main

sys.exit(main())
