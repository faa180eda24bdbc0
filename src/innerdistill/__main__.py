"""`python -m innerdistill`: the command line, for whoever has the package on the path but not the command."""

import sys

from innerdistill.cli.main import main

sys.exit(main())
