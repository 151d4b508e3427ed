"""Joining: one line for the agent, one for the operator, and a live desk; and every way in which somebody must not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nexus_protocol.identity import FILE, Identity
from nexus_protocol.vocabulary import Role

from .harness import Relay
from .processes import DEADLINE, Done, Program, environment, python, run
from .terminal import Terminal

DESK = "attic"


@pytest.fixture(scope="module")
def own_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(tmp_path_factory.mktemp("joining") / "relay") as relay:
        yield relay


class Attic(NamedTuple):
    """A desk that joined by an invitation: its agent's state folder, and its program."""

    folder: Path
    agent: Program

    def state(self) -> tuple[str, str]:
        return ("--state-dir", str(self.folder))

    def invite(self, *options: str) -> str:
        """The link that `nexus-agent invite` prints."""
        done = run("nexus_agent", "invite", *options, *self.state())
        assert done.status == 0, done.error
        return link_in(done, "nexus-tui join ")


def link_in(done: Done, command: str) -> str:
    """The link of the one line on standard output, which can be pasted as it is."""
    assert done.out.count("\n") == 1
    assert done.out.startswith(command)
    return done.out.removeprefix(command).strip()


def relays_invitation(relay: Relay, desk: str, *options: str) -> str:
    done = run(
        "relay", "--state-dir", str(relay.folder / "state"), "invite", "--desk", desk, "--url", relay.url, *options
    )
    assert done.status == 0, done.error
    return link_in(done, "nexus-agent join ")


@pytest.fixture(scope="module")
def attic(own_relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attic]:
    folder = tmp_path_factory.mktemp("attic")
    link = relays_invitation(own_relay, DESK)
    joined = run("nexus_agent", "join", link, "--state-dir", str(folder))
    assert (joined.status, f"as the agent of {DESK}" in joined.out) == (0, True), joined
    again = run("nexus_agent", "join", link, "--state-dir", str(tmp_path_factory.mktemp("thief")))
    assert_refused(again)
    agent = Program("nexus_agent", "run", "--synthetic", "--state-dir", str(folder))
    with agent:
        agent.line(f"serving desk {DESK}")
        yield Attic(folder, agent)


def assert_refused(done: Done) -> None:
    assert (done.status, done.out) == (4, "")
    assert "this invitation is not known here" in done.error
    assert len(done.error.splitlines()) == 1


def join(link: str, folder: Path) -> Done:
    return run("nexus_tui", "join", link, "--state-dir", str(folder))


def console(folder: Path, *arguments: str) -> Terminal:
    return Terminal(python("nexus_tui", "connect", *arguments, "--state-dir", str(folder)), environment(), (120, 36))


def act(folder: Path, *action: str) -> Done:
    return run("nexus_tui", "action", DESK, action[0], "--state-dir", str(folder), *action[1:])


def test_three_lines_lead_to_a_live_picture(attic: Attic, tmp_path: Path) -> None:
    """The relay invites the agent, the agent the operator; then `connect` alone shows the desk."""
    joined = join(attic.invite("--name", "alice", "--role", "operator"), tmp_path)
    assert (joined.status, joined.error) == (0, "")
    assert f"joined {DESK} as alice (operator)" in joined.out
    with console(tmp_path) as terminal:
        terminal.wait_text(f"{DESK}  live", "operator alice")
        terminal.wait(lambda screen: screen.glyph(10, 10) == "▀", "a picture")


def test_an_invitation_works_once(attic: Attic, tmp_path: Path) -> None:
    """The second to use it gets nothing: no token, and no way in with one from elsewhere."""
    link = attic.invite("--name", "first")
    assert join(link, tmp_path / "first").status == 0
    assert_refused(join(link, tmp_path / "second"))
    assert not (tmp_path / "second" / "token").exists()
    shutil.copy(tmp_path / "first" / "token", tmp_path / "second" / "token")
    for name in ("relay", "known_desks"):
        shutil.copy(tmp_path / "first" / name, tmp_path / "second" / name)
    refused = act(tmp_path / "second", "click", "1", "1")
    assert (refused.status, "does not know your key" in refused.error) == (4, True)


def test_its_secret_is_kept_by_nobody(attic: Attic, own_relay: Relay, tmp_path: Path) -> None:
    """After joining it is in no file of any of the three, in no log, and on no process list."""
    link = attic.invite("--name", "quiet")
    secret = link.rpartition("/")[2]
    piped = subprocess.run(
        python("nexus_tui", "join", "-", "--state-dir", str(tmp_path), "-vv"),
        input=link, text=True, capture_output=True, timeout=DEADLINE, env=environment(), check=False,
    )  # fmt: skip
    assert piped.returncode == 0, piped.stderr
    programs = [own_relay.program, attic.agent]
    said = piped.stdout + piped.stderr + "".join(p.said(name) for p in programs for name in ("out", "error"))
    assert secret not in said
    for folder in (tmp_path, attic.folder, own_relay.folder):
        for file in folder.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert secret.encode() not in command.read_bytes()
        except OSError:
            continue  # it has just ended


def test_an_agent_gives_away_its_own_desk_only(attic: Attic, own_relay: Relay, tmp_path: Path) -> None:
    """Whom it invites has a token for that desk, and sees no other."""
    assert join(attic.invite("--name", "guest", "--role", "viewer"), tmp_path).status == 0
    with own_relay.agent("cellar", "--synthetic"):
        listed = run("nexus_tui", "desks", "--state-dir", str(tmp_path))
        assert listed.out.split() == [DESK]
        refused = run("nexus_tui", "action", "cellar", "click", "1", "1", "--state-dir", str(tmp_path))
        assert (refused.status, "does not reach cellar" in refused.error) == (4, True)


def test_roles_come_with_the_invitation(attic: Attic, tmp_path: Path) -> None:
    """A viewer's console says so, and what it may not do is refused."""
    assert "as vera (viewer)" in join(attic.invite("--name", "vera", "--role", "viewer"), tmp_path).out
    assert act(tmp_path, "screenshot", "-o", str(tmp_path / "shot.png")).status == 0
    refused = act(tmp_path, "click", "1", "1")
    assert (refused.status, "a viewer only watches" in refused.error) == (3, True)


def test_who_is_taken_off_the_list_is_gone(attic: Attic, tmp_path: Path) -> None:
    """A live console is sent away and told; coming back does not help."""
    join(attic.invite("--name", "carl"), tmp_path)
    with console(tmp_path) as terminal:
        terminal.wait_text(f"{DESK}  live")
        assert "removed carl" in run("nexus_agent", "revoke", "carl", *attic.state()).out
        terminal.wait_text("Not connected", "taken back")
    assert act(tmp_path, "click", "1", "1").status == 4


def test_a_revoked_token_ends_the_connection(attic: Attic, own_relay: Relay, tmp_path: Path) -> None:
    """The relay's word is enough to keep somebody out, and it holds when the relay is started again."""
    join(attic.invite("--name", "dora"), tmp_path)
    with console(tmp_path) as terminal:
        terminal.wait_text(f"{DESK}  live")
        done = run("relay", "--state-dir", str(own_relay.folder / "state"), "revoke", "--subject", "dora")
        assert done.status == 0, done.error
        terminal.wait_text("Not connected", "revoked")
    own_relay.stop()
    own_relay.start()
    refused = act(tmp_path, "click", "1", "1")
    assert (refused.status, "revoked" in refused.error) == (4, True)


def test_first_contact_without_an_invitation_is_a_question(own_relay: Relay, attic: Attic, tmp_path: Path) -> None:
    """A script is refused, with the fingerprint; --accept-new or a person's yes pins the key."""
    nina = own_relay.stranger("nina", Role.OPERATOR)
    key = Identity.of(attic.folder).fingerprint
    refused = nina.act(DESK, "click", "1", "1")
    assert (refused.status, str(key) in refused.error, key.words in refused.error) == (4, True, True)
    with Terminal(nina.command("connect", DESK), environment(), (120, 36)) as terminal:
        terminal.wait_text("is not known here yet", str(key), key.words, "[y/N]")
        terminal.send("\r")
        terminal.wait_text("--accept-new")
    with Terminal(nina.command("connect", DESK), environment(), (120, 36)) as terminal:
        terminal.wait_text("[y/N]")
        terminal.send("\x03")
        assert terminal.ended() == 130
    with Terminal(nina.command("connect", DESK), environment(), (120, 36)) as terminal:
        terminal.wait_text("[y/N]")
        terminal.send("y\r")
        terminal.wait_text("this desk does not know your key", "nexus-agent invite --name nina")


def test_a_stranger_knocks_and_is_let_in(own_relay: Relay) -> None:
    """Where its person allows that, an approver sees name and key, and one key press lets them in for good."""
    boss = own_relay.person("boss", Role.OPERATOR)
    with own_relay.agent("porch", "--synthetic", "--ask-unknown"), boss.console("porch") as terminal:
        terminal.wait_text("porch  live")
        olga = own_relay.stranger("olga", Role.OPERATOR)
        with olga.acting("porch", "click", "--accept-new", "7", "8") as knocking:
            knocking.line("nexus-tui: porch does not know you yet", "error")
            terminal.wait_text("olga (operator) asks to be let in", Identity.of(olga.folder).fingerprint.words)
            wait_decidable(terminal)
            terminal.send("a")
            assert knocking.ended().status == 0
        assert olga.act("porch", "click", "9", "9").status == 0


def wait_decidable(terminal: Terminal) -> None:
    """A decision key counts once the request has been on the screen for a moment: its clock has ticked."""
    terminal.wait(lambda screen: any(f"{left} s left" in screen.text for left in range(50, 60)), "a second to pass")


def test_another_key_of_the_desk_stops_everything(own_relay: Relay, tmp_path: Path) -> None:
    """Nothing is sent; the message is loud, and names the command that accepts the new key."""
    pia = own_relay.person("pia", Role.OPERATOR)
    with own_relay.agent("hut", "--synthetic"):
        assert pia.act("hut", "click", "1", "1").status == 0
    (own_relay.desk("hut").folder / FILE).unlink()
    with own_relay.agent("hut", "--synthetic"):
        refused = pia.act("hut", "click", "2", "2", "--accept-new")
        assert (refused.status, "THE KEY OF hut HAS CHANGED" in refused.error) == (4, True)
        with pia.console("hut") as terminal:
            terminal.wait_text("THE KEY OF hut HAS CHANGED")
        command = refused.error.rpartition("nexus-tui trust ")[2].split()
        trusted = run("nexus_tui", "trust", *command, "--relay", pia.url, "--state-dir", str(pia.folder))
        assert trusted.status == 0
        assert pia.act("hut", "click", "3", "3").status == 0


@pytest.mark.parametrize("program", ["nexus_agent", "nexus_tui"])
def test_a_key_that_others_can_read_is_refused(program: str, tmp_path: Path) -> None:
    """As ssh does, with the command that mends it."""
    assert run(program, "fingerprint", "--state-dir", str(tmp_path)).out.startswith("SHA256:")
    (tmp_path / FILE).chmod(0o640)
    refused = run(program, "fingerprint", "--state-dir", str(tmp_path))
    assert (refused.status, "chmod 600" in refused.error) == (2, True)


@pytest.mark.parametrize(
    ("program", "link", "words"),
    [
        ("nexus_tui", "nexus://relay.example/join/agent/office/AAAAAAAAAAAAAAAAAAAAAA", "nexus-agent join"),
        ("nexus_agent", f"nexus://relay.example/join/operator/office/{'A' * 43}/{'A' * 22}", "nexus-tui join"),
        ("nexus_tui", "https://relay.example/", "not an invitation"),
        ("nexus_tui", "nexus://relay.example/join/operator/office/AAAAAAAAAAAAAAAAAAAAAA", "not the whole"),
        ("nexus_tui", "x" * 100_000, "not an invitation"),
    ],
)  # fmt: skip
def test_what_is_no_invitation_for_this_program(program: str, link: str, words: str, tmp_path: Path) -> None:
    done = run(program, "join", link, "--state-dir", str(tmp_path))
    assert (done.status, words in done.error, len(done.error.splitlines())) == (2, True, 1)


def test_nobody_holds_two_relays_in_one_folder(attic: Attic, own_relay: Relay, tmp_path: Path) -> None:
    """Another relay needs another folder; the invitation is not used up by the attempt."""
    (tmp_path / "relay").write_text("wss://elsewhere.example")
    link = attic.invite("--name", "zoe")
    refused = join(link, tmp_path)
    assert (refused.status, "--state-dir" in refused.error) == (2, True)
    assert join(link, tmp_path / "new").status == 0


def test_whoever_was_known_as_somebody_else(own_relay: Relay, attic: Attic, tmp_path: Path) -> None:
    """A known name with another key may not even knock: an approver could take it for the one they know."""
    assert join(attic.invite("--name", "rosa"), tmp_path).status == 0
    impostor = own_relay.stranger("rosa", Role.OPERATOR)
    refused = impostor.act(DESK, "click", "1", "1", "--accept-new")
    assert (refused.status, "known here by another key" in refused.error) == (4, True)
