"""What ends a command from outside: Ctrl-C, a scheduler's or container's end, a closed terminal.

SIGINT, SIGTERM and SIGHUP all become one exception in the main thread, so that whatever the command
started is ended, and what it has is written, on the same path.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_A_MOMENT = 0.05
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Signals that came inside `held`, one list a block.
_held: list[list[int]] = []


class Ended(KeyboardInterrupt):
    """The process was asked to end.

    Args:
        signum: the signal that asked.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"ended by {signal.Signals(signum).name}")


def signal_of(error: KeyboardInterrupt) -> signal.Signals:
    """Gives the signal that an interrupt came from."""
    return signal.Signals(error.signum) if isinstance(error, Ended) else signal.SIGINT


@contextlib.contextmanager
def raised_as_exceptions() -> Iterator[None]:
    """Raises `Ended` for the first signal that asks for the end; later ones wait for the block.

    A closed terminal sends several, and a scheduler repeats itself: none of them may cut short what
    the first has begun. Only a second Ctrl-C does. A signal that is ignored (`nohup`) stays so.
    Processes that are forked inside die of these signals as they would without the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = os.getpid()
    asked: list[int] = []
    # A terminal that has gone no longer says that it is one.
    terminals = [descriptor for descriptor in (1, 2) if _is_terminal(descriptor)]

    def handle(signum: int, _: FrameType | None) -> None:
        if os.getpid() != ours:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        if signum == signal.SIGHUP:
            _leave(terminals)
        if asked and signum != signal.SIGINT:
            return
        asked.append(signum)
        if _held and len(asked) == 1:
            _held[-1].append(signum)
            return
        raise Ended(signum)

    def ask_again(unraisable: sys.UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        if not isinstance(error, Ended):
            hook(unraisable)
            return
        asked.clear()
        timer = threading.Timer(_A_MOMENT, os.kill, (ours, error.signum))
        timer.daemon = True
        timer.start()

    before = {}
    for signum in _ENDING:
        if signal.getsignal(signum) not in (signal.SIG_IGN, None):
            before[signum] = signal.signal(signum, handle)
    # What is raised while an object is finalised goes there, and nowhere else.
    hook, sys.unraisablehook = sys.unraisablehook, ask_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Lets a block that writes results come to its end: a signal counts after it.

    A second Ctrl-C ends even this.

    Raises:
        Ended: at the end of the block, if a signal came in it; also where the block failed.
    """
    came: list[int] = []
    _held.append(came)
    try:
        yield
    finally:
        _held.pop()
        if came:
            raise Ended(came[0])


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _leave(terminals: list[int]) -> None:
    """Sends what is still printed nowhere: writing to a terminal that has gone is an error."""
    for descriptor in terminals:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
