"""Fuzz every decoder that a stranger can reach, guided by coverage: ``python -m tests.fuzz.atheris_run SECONDS``.

Needs atheris, which nothing else here does. A fault ends it, with the input that leads there in a file that it names.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path


def main() -> None:
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m tests.fuzz.atheris_run SECONDS")
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed here: pip install atheris")
    with atheris.instrument_imports(include=["nexus_protocol"]):
        targets = importlib.import_module("tests.fuzz.targets")
    each = list(targets.TARGETS.values())
    folder = Path(tempfile.mkdtemp(prefix="nexus-fuzz-"))
    for number, name in enumerate(targets.TARGETS):
        for seed, data in enumerate(targets.SEEDS[name]):
            folder.joinpath(f"{name}-{seed}").write_bytes(bytes((number,)) + data)

    def one(data: bytes) -> None:
        if data:
            each[data[0] % len(each)](data[1:])

    atheris.Setup(
        [
            sys.argv[0], str(folder), f"-artifact_prefix={folder}/fault-",
            f"-max_total_time={sys.argv[1]}", "-timeout=10", "-max_len=4096", "-print_final_stats=1",
            "-reduce_inputs=0",  # what is decoded in C looks alike from here, and the seeds for it are to stay
        ],
        one,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
