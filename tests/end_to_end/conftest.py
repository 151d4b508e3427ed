"""What the tests of the whole share: one relay, one display with a painted window on it, and its agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus_protocol.vocabulary import Role

from .harness import Person, Relay
from .xdisplay import Canvas, Mailbox, running_xvfb

OFFICE = "office"

# What operators may do without being asked; automation keeps the built-in rules.
POLICY = """
[defaults]
execute = "allow"
file_read = "allow"
file_write = "allow"
"""


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(tmp_path_factory.mktemp("whole") / "relay") as relay:
        yield relay


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    with running_xvfb() as name:
        yield name


@pytest.fixture(scope="session")
def whole_canvas(display: str) -> Iterator[Canvas]:
    canvas = Canvas(display)
    yield canvas
    canvas.close()


@pytest.fixture
def canvas(whole_canvas: Canvas) -> Canvas:
    """The window that covers the display, with nothing recorded yet."""
    whole_canvas.forget()
    return whole_canvas


@pytest.fixture(scope="session")
def office(relay: Relay, display: str, whole_canvas: Canvas) -> Iterator[str]:
    """The name of the desk on that display; it is served."""
    with relay.agent(OFFICE, "--display", display, policy=POLICY):
        yield OFFICE


@pytest.fixture(scope="session")
def ada(relay: Relay) -> Person:
    """An operator, whose token the relay's own command made."""
    return relay.holder("ada", relay.token("--role", "operator", "--subject", "ada"))


@pytest.fixture(scope="session")
def robot(relay: Relay) -> Person:
    """An automation."""
    return relay.person("robot", Role.AUTOMATION)


@pytest.fixture(scope="session")
def guest(relay: Relay) -> Person:
    """A viewer."""
    return relay.person("guest", Role.VIEWER)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    box = Mailbox(tmp_path / "mailbox")
    yield box
    box.close()
