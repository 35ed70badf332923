"""A module run as a program beside selfalign that ends when selfalign does, however that ended.

`python -m selfalign.harness.beside MODULE ARGUMENT…`: without it a killed run would leave a program behind that holds
the accelerator for hours.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time

LOOK_SECONDS = 1.0


def end_with(parent: int) -> None:
    """Wait until a process is the parent no more, and end at once."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def main() -> None:
    """Run the module named first, with the arguments after it."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
