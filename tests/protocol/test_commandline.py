"""What the command lines of all programs say on standard error, and what they never say."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from nexus_protocol.commandline import complain, log_to_stderr


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
