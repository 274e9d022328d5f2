"""Ctrl-C in a line, from a script's first import on: imported before what takes seconds.

Only the process of a script is changed: not one that imports it, nor a worker, nor a notebook.
"""

import os
import signal
import sys
from types import FrameType, TracebackType

STOPPED = 130  # the exit status of a shell's command that was interrupted
IN_WORDS = "Stopped: what is done is kept, and the same command goes on"
RECIPE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: an exception would turn into another one within half-imported libraries."""
    os.write(sys.__stderr__.fileno(), b"Stopped before it began\n")
    os._exit(STOPPED)


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(IN_WORDS, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def raise_again() -> None:
    """Let Ctrl-C and SIGTERM be a KeyboardInterrupt from here on: the imports are done.

    What others want of a signal stays: a shell's background job ignores Ctrl-C, a launcher has
    plans for SIGTERM.
    """
    for number in USUAL:
        if signal.getsignal(number) is _leave:
            signal.signal(number, signal.default_int_handler)


main = getattr(sys.modules["__main__"], "__file__", None) or ""
if os.path.dirname(os.path.abspath(main)) in (RECIPE, os.path.join(RECIPE, "demo")):
    sys.excepthook = _tell
    for number, usual in USUAL.items():
        if signal.getsignal(number) is usual:
            signal.signal(number, _leave)
