"""One run of a sweep in its own process: `innerdistill distill`, which ends when the sweep ends.

The sweep holds the other end of standard input. When the sweep ends for any reason, this process reads the end of the
stream and stops. Otherwise it would still train while the next sweep starts the same run again.
"""

from __future__ import annotations

import os
import sys
import threading

from innerdistill.cli.main import main


def _end_with_the_sweep() -> None:
    while os.read(0, 1):  # nothing is ever written; not sys.stdin, whose lock would be held when this process ends
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    sys.exit(main(["distill", sys.argv[1]]))
