"""Figures as tables, and what machine they come from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

_VERSIONS = {
    "xterm": ("-version",),
    "X0tigervnc": ("-version",),
    "x11vnc": ("-version",),
    "ffmpeg": ("-version",),
    "mpv": ("--version",),
}
_LIBRARIES = ("textual", "aiortc", "av", "mss", "xcffib", "numpy")


def percentile(figures: Sequence[float], share: float) -> float:
    """``share`` of 0 to 100; an infinite figure is one, and the nearest figure above is taken, none made up."""
    return float(np.percentile(figures, share, method="higher"))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that reads well as it stands: the first column to the left, the others to the right."""
    widths = [max(3, *(len(row[at]) for row in [head, *rows])) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if not at else cell.rjust(w) for at, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * (w - 1)}{':' if at else '-'}" for at, w in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def load() -> str:
    return " ".join(f"{figure:.2f}" for figure in os.getloadavg())


def machine() -> str:
    """A few lines: when, on what, with what."""
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    programs = ", ".join(f"{name} {_version(name, flags)}" for name, flags in _VERSIONS.items() if shutil.which(name))
    return "\n".join(
        (
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {load()} at the start",
            f"{_cpu()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
            f"Python {platform.python_version()}, {libraries}",
            programs,
        )
    )


def _version(name: str, flags: Sequence[str]) -> str:
    done = subprocess.run([name, *flags], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    found = re.search(r"\d+(\.\d+)+|\(\d+\)", done.stdout + done.stderr)
    return found.group().strip("()") if found else "of unknown version"


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()
