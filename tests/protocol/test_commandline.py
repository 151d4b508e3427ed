"""What the command lines of all programs say on standard error, and what they never say."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import click
import pytest
import structlog

from nexus_protocol.commandline import complain, duration, log_to_stderr, read_invitation, warn_of_plain
from nexus_protocol.errors import UsageError
from nexus_protocol.invitation import Invitation, Secret

PROGRAM = "nexus-tui"
INVITATION = Invitation("wss://relay.example", "office", Secret(bytes(16)))


@pytest.fixture
def own_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging is afterwards as it was."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    yield
    structlog.reset_defaults()


def fail() -> None:
    secret = "p4ss" + "w0rd"
    raise ValueError(f"cannot use {secret}")


@pytest.mark.usefixtures("own_log")
@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_an_error_in_the_log_shows_no_variables(capsys: pytest.CaptureFixture[str], verbosity: int) -> None:
    """Nor, unless everything was asked for, the error's own words: one line says which error it was and where."""
    log_to_stderr(verbosity)
    try:
        fail()
    except ValueError as error:
        structlog.get_logger().error("it failed", exc_info=error)
    text = capsys.readouterr().err
    assert "it failed" in text
    assert "ValueError" in text
    assert "secret = 'p4ss" not in text
    assert "secret: " not in text
    assert "p4ssw0rd" not in text.replace("ValueError: cannot use p4ssw0rd", "")
    assert ("Traceback" in text) == ("p4ssw0rd" in text) == (verbosity > 1)
    assert verbosity > 1 or text.count("\n") == 2


def test_a_complaint_is_one_line_that_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a peer gave as its reason."""
    assert complain("nexus-tui", "denied: by bob:\n \x1b[2J\u202e\x07 no", 3) == 3
    assert capsys.readouterr().err == "nexus-tui: denied: by bob: �[2J�� no\n"


# -- an invitation, and how long it lasts -----------------------------------------------------------------------


@pytest.mark.parametrize("link", [None, "-"])
def test_an_invitation_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, link: str | None) -> None:
    """So that it is on no process list; one line of it."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{INVITATION.link()}\nmore\n"))
    assert read_invitation(PROGRAM, link) == INVITATION


def test_an_invitation_is_read_from_the_command_line() -> None:
    """As it was pasted."""
    assert read_invitation(PROGRAM, INVITATION.link()) == INVITATION


@pytest.mark.parametrize("text", ["", "\n", "x" * 10_000, INVITATION.link()[:-1]])
def test_what_is_no_invitation_is_not_quoted(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """It may be most of one."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(UsageError, match="paste the whole line"):
        read_invitation(PROGRAM, None)


def test_an_invitation_to_no_relay_is_refused() -> None:
    """The address is looked at as one that was typed; the secret is not shown with it."""
    link = INVITATION.link().replace("relay.example", "relay.example:99999")
    with pytest.raises(UsageError, match="is not a relay's address") as error:
        read_invitation(PROGRAM, link)
    assert link.rpartition("/")[2] not in str(error.value)


def seconds(text: str) -> int:
    return duration(click.Context(click.Command("invite")), click.Option(["--for"]), text)


@pytest.mark.parametrize(("text", "length"), [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800)])
def test_a_duration_is_a_number_with_its_unit(text: str, length: int) -> None:
    """In seconds."""
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "0m", "15", "-1h", "1.5h", "1 h", "1w", "m", "1h30m", "٣m", "9" * 10 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(click.BadParameter, match="such as 90s, 30m, 24h or 7d"):
        seconds(text)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("ws://127.0.0.1:8765", False),
        ("ws://[::1]:8765", False),
        ("ws://localhost", False),
        ("wss://relay.example", False),
        ("ws://relay.example", True),
        ("ws://192.0.2.7:8765", True),
    ],
)
def test_a_relay_elsewhere_without_tls_is_warned_of(url: str, warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Its token would be there for the taking; on one machine nobody is in between."""
    warn_of_plain(PROGRAM, url)
    assert ("wss://" in capsys.readouterr().err) is warned
