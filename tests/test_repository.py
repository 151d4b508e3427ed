"""The repository keeps its own rules: what it installs, what it imports, how long its modules are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("nexus_protocol", "relay", "nexus_agent", "nexus_tui")
LOCKS = ("requirements.lock", "requirements-build.lock")

MADE_HERE = {".git", ".venv", ".hypothesis", "__pycache__", "build", "dist"}


def _files(suffixes: set[str] | None = None) -> Iterator[Path]:
    """Every file a clone would have, as far as this can be told without git."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in MADE_HERE and not name.endswith("_cache")]
        for name in names:
            path = Path(folder, name)
            if suffixes is None or path.suffix in suffixes:
                yield path


def _python(program: str, *arguments: str, **environment: str) -> str:
    """What a fresh interpreter prints for this program."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DISPLAY"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- What is installed


def _locked(name: str) -> dict[str, str]:
    """The lock's requirements, one logical line each, by name."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {canonicalize_name(re.split(r"[=\s]", line)[0]): line for line in lines}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_requirement_has_one_version_and_a_hash(name: str) -> None:
    """What is installed is exactly what was resolved, byte for byte."""
    for line in _locked(name).values():
        assert re.match(r"[a-z0-9.-]+==[\w.!+]+ ( *; [^-]+)?( *--hash=sha256:[0-9a-f]{64})+ *$", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_names_no_index_and_no_path(name: str) -> None:
    """The lock is the same wherever its packages come from."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|file:|--(extra-)?index|--find-links|--trusted|(^|\s)[./]*/\w", text)


def test_the_lock_covers_every_dependency() -> None:
    """A dependency added to pyproject.toml is locked in the same change."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    named = {canonicalize_name(Requirement(line).name) for group in groups for line in group}
    assert named - {"nexus-tui"} <= _locked("requirements.lock").keys()


def _installed_with(extra: str) -> set[str]:
    """Every distribution that ``pip install nexus-tui[extra]`` brings on this platform."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for extra_of in ("", *requirement.extras):
            for line in importlib.metadata.requires(name) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra_of}):
                    waiting.append(needed)
    return found


def test_a_relay_host_installs_no_desktop_and_no_video() -> None:
    """``nexus-tui[relay]`` brings what the relay needs and nothing of agent and console."""
    brought = _installed_with("relay")
    assert {"pyjwt", "websockets"} <= brought
    assert not brought & {"textual", "textual-image", "aiortc", "av", "pyautogui", "mss", "numpy", "pillow", "xcffib"}


def test_an_agent_host_installs_no_console() -> None:
    """``nexus-tui[agent]`` brings neither Textual nor the relay's own needs."""
    assert not _installed_with("agent") & {"textual", "textual-image", "pyjwt"}


# ---- What is imported

LOADED = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def test_the_relay_starts_without_desktop_and_video() -> None:
    """Importing the relay's command line loads nothing that its host does not have."""
    loaded = set(_python(f"import relay.cli; {LOADED}").split())
    assert not loaded & {"textual", "aiortc", "av", "pyautogui", "mss", "numpy", "PIL", "nexus_agent", "nexus_tui"}


def test_the_agent_starts_without_a_display() -> None:
    """Importing the agent's command line needs no DISPLAY, no console and no pyautogui."""
    loaded = set(_python(f"import nexus_agent.cli; {LOADED}").split())
    assert not loaded & {"textual", "pyautogui", "nexus_tui", "relay"}


def test_the_consoles_core_knows_no_user_interface() -> None:
    """All of nexus_tui.core loads without Textual."""
    load_all = """
import importlib, pkgutil, nexus_tui.core as core
for module in pkgutil.walk_packages(core.__path__, "nexus_tui.core."):
    importlib.import_module(module.name)
"""
    loaded = set(_python(load_all + LOADED).split())
    assert not loaded & {"textual", "textual_image", "rich", "nexus_agent", "relay"}


def test_each_package_says_it_is_typed() -> None:
    """A type checker may rely on the annotations of all four packages."""
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)


# ---- How it is written


def test_no_module_is_past_400_lines() -> None:
    """A module that grows past one subject is divided."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _files({".py"})}
    assert not {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400}


def test_no_module_is_called_after_nothing() -> None:
    """A name says what is inside."""
    empty_names = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert not [path for path in _files({".py"}) if {path.stem, path.parent.name} & empty_names]


def test_no_file_mentions_a_developers_machine() -> None:
    """Paths of somebody's home or checkout mean nothing on another machine."""
    local = re.compile(rf"/(?:home|Users|root|work)/[\w.-]+|[A-Z]:\\Users\\|{re.escape(str(ROOT))}\b")
    allowed = re.compile(r"/home/(?:ada|grace|user|you|me)\b")  # people of the examples
    found = []
    for path in _files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        if path != Path(__file__).resolve() and local.search(allowed.sub("", text)):
            found.append(path.relative_to(ROOT))
    assert not found


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_make_targets_a_page_names_exist(page: str) -> None:
    """What a page says to type works."""
    text = (ROOT / page).read_text(encoding="utf-8")
    code = re.findall(r"^```.*?^```|^ {4}.*?$|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(code)))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= targets


# ---- How it is checked


SKIPPING = {
    "test_body.py": "import pytest\ndef test_it(): pytest.skip('no desk')",
    "test_mark.py": "import pytest\n@pytest.mark.skip(reason='no sound')\ndef test_it(): pass",
    "test_module.py": "import pytest\npytest.skip('no light', allow_module_level=True)",
    "test_other.py": "def test_it(): pass",
}


def _run_skipping_tests(folder: Path, ci: str, workers: int = 0) -> tuple[int, str]:
    """Exit status and report of pytest over SKIPPING, under our own conftest; no workers: in one process."""
    (folder / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    for name, text in SKIPPING.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"-n{workers}",
         "--continue-on-collection-errors", "."],
        cwd=folder,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")))
def test_what_a_page_links_to_exists(page: str) -> None:
    """Pictures and other pages, by their path from the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("workers", [0, 2])
def test_in_ci_a_skipped_test_fails_the_run_and_says_why(tmp_path: Path, workers: int) -> None:
    """A test that did not run proves nothing, so CI does not take it for a pass."""
    status, report = _run_skipping_tests(tmp_path, ci="true", workers=workers)
    assert status == 1
    assert "1 failed, 1 passed, 2 errors" in report, report
    assert all(reason in report for reason in ("no desk", "no sound", "no light"))


def test_elsewhere_a_test_may_be_skipped(tmp_path: Path) -> None:
    """A machine without what a test needs can still run the others."""
    status, report = _run_skipping_tests(tmp_path, ci="")
    assert status == 0
    assert "1 passed, 3 skipped" in report


def test_quietly_shows_what_a_command_said_only_when_it_failed() -> None:
    """`make` says nothing when all is well, and everything when it is not."""

    def run(command: str) -> tuple[int, str]:
        quietly = [str(ROOT / "scripts" / "quietly"), "sh", "-c", command]
        done = subprocess.run(quietly, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run("echo fine") == (0, "")
    assert run("echo so; exit 7") == (7, "so\n")
