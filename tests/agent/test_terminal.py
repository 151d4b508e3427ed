"""The terminal the agent was started from is nothing to the programs it starts."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import signal, subprocess, sys
from nexus_agent.terminal import leave_terminal
reach = ["sh", "-c", "exec 3</dev/tty"]
print(subprocess.run(reach, stderr=subprocess.DEVNULL).returncode == 0)
leave_terminal()
print(subprocess.run(reach, stderr=subprocess.DEVNULL).returncode == 0, flush=True)
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
sys.stderr.write("ready")
sys.stderr.flush()
signal.pause()
"""


def test_programs_cannot_reach_it_and_ctrl_c_still_ends_the_agent() -> None:
    """Before, /dev/tty can be opened; afterwards not."""
    ours, theirs = os.openpty()
    # A shell leads the terminal's session, as it does when a person starts the agent.
    shell = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "sh", "-c", f"trap : INT; {sys.executable} -c '{CODE}'; echo $?"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert shell.stderr is not None
    assert shell.stdout is not None
    with shell, shell.stdout, shell.stderr:
        assert shell.stderr.read(5) == b"ready"
        os.write(ours, b"\x03")
        assert shell.stdout.read().split() == [b"True", b"False", b"7"]
    os.close(ours)
