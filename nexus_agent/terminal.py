"""Letting go of the terminal the agent was started from, on behalf of the programs it starts."""

from __future__ import annotations

import contextlib
import os
import sys

if sys.platform != "win32":
    import fcntl
    import termios


def leave_terminal() -> None:
    """From here on no child can open /dev/tty: what asks there for a password fails at once, instead of waiting for
    somebody who is not there. Ctrl+C still arrives, for it goes to the process group. See tty_ioctl(4), TIOCNOTTY.
    """
    if sys.platform == "win32" or os.getsid(0) == os.getpid():
        return  # a session's leader would take the terminal from everybody in it
    with contextlib.suppress(OSError):  # there is none
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)
