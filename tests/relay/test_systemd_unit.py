"""The relay's systemd unit is one that systemd accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "nexus-relay.service"
PROGRAM = "/opt/nexus-tui/bin/nexus-relay"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing, on a copy whose program exists."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert os.environ.get("CI") != "true", "CI must have systemd-analyze"
        pytest.skip("systemd-analyze is not installed")
    text = UNIT.read_text()
    assert text.count(PROGRAM) == 2, "the program and its init"
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(PROGRAM, "/bin/true"))
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
