"""What the relay, and anybody on the way to it, gets to read: who talks to whom, and nothing of what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Invitation
from nexus_protocol.vocabulary import Role
from nexus_tui.core.known_desks import KnownDesks

from .harness import Person, Relay
from .processes import run
from .recording import Recording
from .terminal import Terminal

PASSWORD = "correct-horse-battery-staple"
SECRET = b"The treasure lies below the third oak. " * 500
POLICY = '[defaults]\nfile_read = "allow"\nfile_write = "allow"\nexecute = "allow"\n'
VAULT = "vault"


@pytest.fixture
def wire(relay: Relay) -> Iterator[Recording]:
    with Recording(relay.url) as recording:
        yield recording


@pytest.fixture
def mole(relay: Relay, wire: Recording) -> Iterator[Person]:
    """An operator who reaches a desk over the recorded wire; its agent does, too."""
    person = relay.person("mia", Role.OPERATOR)
    with relay.agent(VAULT, "--synthetic", "--relay", wire.url, policy=POLICY):
        KnownDesks(person.folder, wire.url).pin(VAULT, Identity.of(relay.desk(VAULT).folder).fingerprint, by="the test")
        yield replace(person, url=wire.url)


def pieces(data: bytes, size: int = 16) -> set[bytes]:
    """Every stretch of that size, no matter where a frame begins; of long data enough of them."""
    step = max(1, len(data) // 2_000)
    return {data[at : at + size] for at in range(0, len(data) - size, step)}


def test_nothing_of_a_session_is_on_the_wire(mole: Person, wire: Recording, tmp_path: Path) -> None:
    """A password typed, files sent both ways, a command with its output, a screenshot, the offer of the picture."""
    here, there, shot = tmp_path / "here.txt", tmp_path / "there.txt", tmp_path / "shot.png"
    here.write_bytes(SECRET)
    assert mole.act(VAULT, "type", PASSWORD).status == 0
    assert mole.act(VAULT, "write", str(there), "-i", str(here)).status == 0
    read = mole.act(VAULT, "read", str(there))
    assert read.out.encode() == SECRET
    assert mole.act(VAULT, "exec", "--", "echo", PASSWORD).out == f"{PASSWORD}\n"
    assert mole.act(VAULT, "screenshot", "-o", str(shot)).status == 0
    with mole.console(VAULT) as console:
        console.wait_text(f"{VAULT}  live", " fps")
        wait_frames(console)

    heard = wire.heard()
    assert b'"desk":"vault"' in heard, "nothing was recorded of the operator's way"
    assert b'"type":"incoming"' in heard, "nothing was recorded of the agent's way"
    assert len(heard) > 2 * len(SECRET) + shot.stat().st_size, "not everything was recorded"
    for told in (PASSWORD.encode(), b"a=fingerprint", b"candidate", b"screenshot", b"file_write", str(there).encode()):
        assert told not in heard, told
    for secret in (SECRET, shot.read_bytes()):
        assert not [piece for piece in pieces(secret) if piece in heard]


def wait_frames(console: Terminal) -> None:
    """The picture has come, so its offer and answer went over the link."""
    console.wait(lambda screen: screen.glyph(10, 10) == "▀", "a picture")


def test_no_log_of_a_program_holds_what_lets_it_in(mole: Person, relay: Relay, tmp_path: Path) -> None:
    """At the loudest neither the token, which a library would quote, nor what an invitation is exchanged for."""
    done = run("nexus_tui", "action", VAULT, "click", "1", "1", "-vv", *mole.options)
    assert done.status == 0
    assert "DEBUG" in done.error, "there was nothing to look at"
    assert mole.token.read_text() not in done.error
    options = ("--state-dir", str(tmp_path), "-vv")
    state = ("--state-dir", str(relay.folder / "state"))
    invited = run("relay", *state, "invite", "--desk", "loft", "--url", relay.url)
    link = invited.out.split()[-1]
    joined = run("nexus_agent", "join", link, *options)
    assert joined.status == 0
    assert Invitation.parse(link).secret.relay_proof.hex() not in joined.error
    assert (tmp_path / "token").read_text() not in joined.error


def test_names_and_times_are_all_that_a_relay_logs(mole: Person, relay: Relay) -> None:
    """Its log, at the loudest, holds no token, no path and no text."""
    mole.act(VAULT, "type", PASSWORD)
    token = mole.token.read_text()
    said = relay.program.said("out") + relay.program.said("error")
    assert PASSWORD not in said
    assert token not in said
