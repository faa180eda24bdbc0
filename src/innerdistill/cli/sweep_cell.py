"""One cell of a sweep in a process of its own: `innerdistill distill`, for as long as the sweep lives.

The sweep holds the other end of standard input. When the sweep ends, however it ends, this process reads the end of it
and stops. So no cell runs unseen while the next sweep runs it too.
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
