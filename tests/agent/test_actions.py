"""What is done to the desk's files and programs, and how it ends when it cannot be."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from nexus_agent.actions import commands, files
from nexus_agent.actions.outcome import Outcome
from nexus_protocol.actions import MAX_FILE, Execute
from nexus_protocol.errors import NexusError
from nexus_protocol.vocabulary import ActionState


async def execute(*argv: str, cwd: str | None = None, timeout: float = 10.0, **environment: str) -> Outcome:
    return await commands.execute(Execute(argv=argv, cwd=cwd, timeout=timeout), environment)


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


async def test_a_program_ends_with_its_outputs_and_status(tmp_path: Path) -> None:
    """A status other than 0 is an answer, not a failure; the desk's environment and the folder are the program's."""
    code = "import os, sys; print(os.environ['SHOWN'], os.getcwd()); sys.stderr.write('oh'); sys.exit(3)"
    outcome = await execute(*python(code), cwd=str(tmp_path), SHOWN="here")
    assert outcome == Outcome("exit status 3", f"here {tmp_path}\n".encode(), b"oh", 3, ActionState.DONE)


async def test_arguments_are_not_read_by_a_shell() -> None:
    """What a shell would act upon arrives as it is."""
    assert (await execute("echo", "$HOME; *")).data == b"$HOME; *\n"


async def test_a_program_has_no_standard_input() -> None:
    """Whoever reads gets the end at once."""
    assert (await execute("cat")).message == "exit status 0"


async def test_a_timeout_kills_the_whole_group() -> None:
    """A child that ignores its parent's end is gone too: its side of the pipe is closed."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    outcome = await execute("sh", "-c", f"exec 9>/proc/{os.getpid()}/fd/{writer}; sleep 600 & sleep 600", timeout=0.2)
    os.close(writer)
    assert outcome.state is ActionState.FAILED
    assert "killed after 0.2 s" in outcome.message
    assert await asyncio.wait_for(asyncio.to_thread(os.read, reader, 1), 10) == b""
    os.close(reader)


async def test_a_cancelled_program_is_killed(tmp_path: Path) -> None:
    """Cancelling returns when the program has ended."""
    os.mkfifo(tmp_path / "started")
    task = asyncio.create_task(execute("sh", "-c", f"echo $$ > {tmp_path}/started; sleep 600"))
    pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_ends_with_an_agent_that_is_killed() -> None:
    """By SIGKILL, which the agent does not see coming; with all that the program started."""
    reader, writer = os.pipe()
    said = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(said), os.fdopen(reader, "rb")
    )
    script = f"exec 9>/proc/{os.getpid()}/fd/{writer}; echo alive >&9; sleep 60 & sleep 60"
    code = (
        "import asyncio; from nexus_agent.actions.commands import execute; from nexus_protocol.actions import Execute\n"
        f"asyncio.run(execute(Execute(argv=('sh', '-c', {script!r})), {{}}))"
    )
    agent = await asyncio.create_subprocess_exec(*python(code))
    try:
        async with asyncio.timeout(10):
            assert await said.readline() == b"alive\n"
    finally:
        os.close(writer)
        agent.kill()
        await agent.wait()
    async with asyncio.timeout(10):
        assert await said.read() == b""  # nobody holds the pipe any more
    pipe.close()


async def test_something_left_running_does_not_hold_the_result_back() -> None:
    """The result comes when the program ends, though what it started keeps its output open."""
    outcome = await asyncio.wait_for(execute("sh", "-c", "sleep 5 & echo started"), 4)
    assert outcome.data == b"started\n"


async def test_long_output_is_cut_and_says_so() -> None:
    """The program may write as much as it likes; a MiB of each is kept."""
    outcome = await execute(*python("import sys; sys.stdout.write('x' * 3_000_000)"))
    assert len(outcome.data) == 2**20
    assert outcome.message == "exit status 0; output cut after 1 MiB"


@pytest.mark.parametrize(
    ("argv", "cwd", "said"),
    [
        (("no-such-program",), None, "there is no program 'no-such-program' on the desk"),
        (("/dev/null",), None, "cannot start '/dev/null': Permission denied"),
        (("ls",), "/no/such/folder", "cannot run in '/no/such/folder'"),
        (("ls",), "relative", "cannot run in 'relative'"),
    ],
)
async def test_what_cannot_be_started_says_why(argv: tuple[str, ...], cwd: str | None, said: str) -> None:
    """One line."""
    with pytest.raises(NexusError, match=said):
        await execute(*argv, cwd=cwd)


def test_a_path_is_resolved_to_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `~`, no `..`, no link is left; a relative path is nothing the desk could know."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("real")
    assert files.real_path("~/x/../link/notes") == os.path.realpath(tmp_path) + "/real/notes"
    for wrong in ("notes", "./notes", "/a\0b"):
        with pytest.raises(NexusError, match="is not a path of the desk"):
            files.real_path(wrong)


def test_writing_replaces_the_content_and_keeps_the_mode(tmp_path: Path) -> None:
    """The file is there wholly or not at all, and nothing else is left in its folder."""
    path = tmp_path / "script"
    path.write_bytes(b"old")
    path.chmod(0o750)
    files.write(str(path), b"new")
    assert files.read(str(path)) == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert os.listdir(tmp_path) == ["script"]


def test_a_failed_write_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Also no half-written file beside it."""
    (tmp_path / "folder").mkdir()
    for wrong, said in (("folder", "is a folder"), ("missing/file", "No such file"), ("n" * 300, "File name too long")):
        with pytest.raises(NexusError, match=said):
            files.write(str(tmp_path / wrong), b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing, no file, never ending, too large: one line each, and never a wait."""
    os.mkfifo(tmp_path / "fifo")
    with open(tmp_path / "large", "wb") as large:
        large.truncate(MAX_FILE + 1)
    cases = {
        "missing": "No such file",
        "fifo": "not a regular file",
        "large": "larger than 16 MiB",
        "": "Is a directory",
    }
    for name, said in cases.items():
        with pytest.raises(NexusError, match=said):
            files.read(str(tmp_path / name))
    with pytest.raises(NexusError, match="not a regular file"):
        files.read("/dev/zero")


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although its folder would let it be."""
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # as it is for all but root
    with pytest.raises(NexusError, match="read-only"):
        files.write(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_link_that_appears_after_the_decision_is_not_followed(tmp_path: Path) -> None:
    """What was decided was the path, not wherever it leads later."""
    (tmp_path / "other").write_bytes(b"secret")
    (tmp_path / "file").symlink_to("other")
    for act in (lambda: files.read(str(tmp_path / "file")), lambda: files.write(str(tmp_path / "file"), b"x")):
        with pytest.raises(NexusError, match="leads to another place"):
            act()
    assert (tmp_path / "other").read_bytes() == b"secret"
