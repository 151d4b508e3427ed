"""The console and keys: unknown desks, desks with another key, and waiting to be let in."""

from __future__ import annotations

import asyncio
from math import isfinite
from pathlib import Path

import pytest

from nexus_protocol.errors import UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import FILE
from nexus_protocol.invitation import Secret
from nexus_protocol.vocabulary import Role
from nexus_tui.core.known_desks import ChangedKey, KnownDesks, UnknownDesk
from nexus_tui.core.membership import Invitations
from nexus_tui.core.observer import SessionState
from nexus_tui.core.session import Session
from nexus_tui.screens.dialogs import Question
from nexus_tui.widgets.request_panel import DEAD_SECONDS

from .conftest import World
from .person import Person, console

KEY, OTHER = Fingerprint(bytes(32)), Fingerprint(bytes(31) + b"\1")


async def test_an_unknown_desk_is_told_nothing(world: World) -> None:
    """The error has the fingerprint; the agent has heard no hello. Once trusted, the desk opens."""
    await world.start_agent()
    stranger = world.membership(Role.OPERATOR, "alice", "lab")
    world.operators().add("alice", Role.OPERATOR, stranger.identity.fingerprint, approver=True, by="the test")
    session = Session(stranger, watch=False)
    async with session.dialled():
        with pytest.raises(UnknownDesk) as met:
            await session.open("office")
        assert met.value.fingerprint == world.fingerprint()
        session.trust(met.value, by="the test")
        await session.open("office")
    assert session.welcome is not None


async def test_a_desk_with_another_key_stops_the_session_for_good(world: World) -> None:
    """While the session runs as well: it says so, and does not try again."""
    await world.start_agent()
    _, told = await world.enter()
    await world.stop_agent()
    (world.place("agent-office") / FILE).unlink()
    await world.start_agent()
    await told.until(lambda: told.states[-1][0] is SessionState.ENDED)
    assert "THE KEY OF office HAS CHANGED" in told.states[-1][1]


async def test_the_console_asks_before_it_trusts_another_desk(world: World) -> None:
    """Key and words are shown; only y trusts, and then the desk is there."""

    async def asked() -> None:
        question, shown_at = await question_to(person)
        question._clock = lambda: shown_at + 2 * DEAD_SECONDS

    await world.start_agent("office")
    await world.start_agent("lab")
    async with console(world) as person:
        known = KnownDesks(world.place("operator-alice"), world.url)
        known._records.path.write_text(known._records.path.read_text().replace('desk = "lab"', 'desk = "barn"'))
        known._records.path.chmod(0o600)
        for answer in ("enter", "escape"):
            await person.press("o")
            await person.until(lambda: len(person.app.screen_stack) == 2)
            await person.press("enter")  # the first of both: lab
            await asked()
            await person.press(answer)
            if answer == "enter":
                assert isinstance(person.app.screen, Question)
                await person.press("n")
            await person.until(lambda: person.status.status.state is SessionState.ENDED)
            await person.until(lambda: len(person.app.screen_stack) == 1)
        await person.press("o")
        await person.until(lambda: len(person.app.screen_stack) == 2)
        await person.press("enter")
        await asked()
        await person.press("y")
        await person.until(lambda: person.status.status.desk == "lab" and person.view._frame is not None)
        known.check("lab", world.fingerprint("lab"))


async def question_to(person: Person) -> tuple[Question, float]:
    """The question that the person is asked, and since when by its clock."""
    await person.until(lambda: isinstance(person.app.screen, Question) and isfinite(person.app.screen._shown_at))
    question = person.app.screen
    assert isinstance(question, Question)
    return question, question._shown_at


async def test_whoever_goes_on_typing_does_not_trust_anybody(world: World) -> None:
    """A question that comes while the desk is driven ends that; no key is an answer at once, and Enter never is."""
    await world.start_agent()
    async with console(world) as person:
        await person.press("enter")
        assert person.main.driving
        await world.stop_agent()
        KnownDesks(world.place("operator-alice"), world.url).forget("office")
        await world.start_agent()
        question, shown_at = await question_to(person)
        question._clock = lambda: shown_at + DEAD_SECONDS - 0.01
        await person.press("y", "n", "escape", "enter")
        assert person.app.screen is question
        question._clock = lambda: shown_at + 2 * DEAD_SECONDS
        await person.press("enter")
        assert person.app.screen is question
        await person.press("n")
        await person.until(lambda: person.app.screen is person.main)
        assert not person.main.driving
        with pytest.raises(UnknownDesk):
            KnownDesks(world.place("operator-alice"), world.url).check("office", world.fingerprint())


async def test_an_invitation_is_shown_once_and_forgotten(world: World) -> None:
    """At the first contact with its desk; the next one goes without it."""
    await world.start_agent()
    secret = Secret.new()
    operators = world.operators()
    operators.invite("dana", Role.VIEWER, secret.agent_proof, approver=False, expires=2**31, by="the test")
    member = world.membership(Role.OPERATOR, "dana", "lab")
    member.known.pin("office", world.fingerprint(), by="invitation")
    member.invitations.keep("office", secret.agent_proof)
    for _ in range(2):
        session = Session(member, watch=False)
        async with session.dialled():
            await session.open("office")
        assert session.welcome is not None
        assert (session.welcome.subject, session.welcome.role) == ("dana", Role.VIEWER)
        assert member.invitations.proof_for("office") == b""
    assert [known.name for known in operators.all()].count("dana") == 1


async def test_whoever_is_taken_off_the_list_stays_away(world: World) -> None:
    """The session ends with the desk's words, and does not come back by itself."""
    await world.start_agent()
    _, told = await world.enter(Role.OPERATOR, "alice")
    _, other = await world.enter(Role.OPERATOR, "bob")
    await asyncio.to_thread(world.operators().remove, "alice")
    await told.until(lambda: told.states[-1][0] is SessionState.ENDED)
    assert "taken back" in told.states[-1][1]
    assert other.states[-1][0] is SessionState.LIVE


def test_one_key_for_each_desk_of_each_relay(tmp_path: Path) -> None:
    """The same name at another relay is another desk; pinning again replaces."""
    here, there = KnownDesks(tmp_path, "wss://here"), KnownDesks(tmp_path, "wss://there")
    here.pin("office", KEY, by="the test")
    here.check("office", KEY)
    with pytest.raises(UnknownDesk):
        there.check("office", KEY)
    with pytest.raises(ChangedKey, match="nexus-tui trust office SHA256:AAAA"):
        here.check("office", OTHER)
    here.pin("office", OTHER, by="the test")
    here.check("office", OTHER)


@pytest.mark.parametrize("text", ["[[desk]\n", '[[desk]]\nname = "office"\n', "x = 1\n", "\xff"])
def test_pins_that_cannot_be_read_trust_nobody(tmp_path: Path, text: str) -> None:
    """A broken file is an error that names it, never an empty list of pins."""
    (tmp_path / "known_desks").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="known_desks"):
        KnownDesks(tmp_path, "wss://here").check("office", KEY)


def test_pins_that_others_can_write_trust_nobody(tmp_path: Path) -> None:
    known = KnownDesks(tmp_path, "wss://here")
    known.pin("office", KEY, by="the test")
    (tmp_path / "known_desks").chmod(0o666)
    with pytest.raises(UsageError, match="chmod 600"):
        known.check("office", KEY)


def test_invitations_are_kept_apart_by_desk(tmp_path: Path) -> None:
    invitations = Invitations(tmp_path, "wss://here")
    invitations.keep("office", b"o" * 32)
    invitations.keep("lab", b"l" * 32)
    invitations.used("office")
    assert (invitations.proof_for("office"), invitations.proof_for("lab")) == (b"", b"l" * 32)


async def test_a_revoked_token_ends_the_session(world: World) -> None:
    """The relay closes the socket; the session says why and does not dial again."""
    await world.start_agent()
    _, told = await world.enter(Role.OPERATOR, "alice")
    world.issuer.revoke_subject("alice")
    await told.until(lambda: told.states[-1][0] is SessionState.ENDED)
    assert "revoked" in told.states[-1][1]
    await world.enter(Role.OPERATOR, "bob")
