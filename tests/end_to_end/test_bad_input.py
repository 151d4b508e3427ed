"""Whatever is wrong, people read it in a line or two, scripts see it in the exit status, and nothing is lost."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nexus_protocol.vocabulary import Role
from relay import tokens

from .harness import Person, Relay
from .processes import Done, Program, environment, run, together
from .terminal import Terminal
from .xdisplay import Canvas

TEAL = (30, 150, 150)


def assert_said(done: Done, status: int, *words: str) -> None:
    """The exit status, and one or two lines on standard error with these words."""
    assert done.status == status, done
    assert done.out == ""
    lines = done.error.splitlines()
    assert 1 <= len(lines) <= 2, done.error
    assert lines[0].startswith(("nexus-tui: ", "nexus-agent: ")), done.error
    assert "Traceback" not in done.error
    for word in words:
        assert word in done.error


@pytest.fixture
def nobody(relay: Relay) -> Iterator[Person]:
    """The address of a relay that is not there: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield replace(relay.holder("nobody", "a.b.c"), url=f"ws://127.0.0.1:{taken.getsockname()[1]}")


# ---- Tokens and addresses


def test_a_token_that_is_none(relay: Relay, office: str) -> None:
    """Scripts and agents alike are told that this is no token of this relay."""
    forged = relay.holder("eve", "eyJhbGciOiJub25lIn0.e30.")
    for done in together(
        forged.acting(office, "click", "1", "1"),
        Program("nexus_tui", "desks", *forged.options),
        Program("nexus_agent", "run", "--synthetic", *forged.options),
    ):
        assert_said(done, 4, "refuses this program", "nexus-relay token")


def test_a_token_of_another_relay(relay: Relay, office: str) -> None:
    """A token that looks right and was signed by somebody else says where to get one."""
    foreign = relay.holder("eve", tokens.mint(os.urandom(32), Role.OPERATOR, "eve", ["*"]))
    assert_said(foreign.act(office, "click", "1", "1"), 4, "not signed by this relay", "nexus-relay token")


def test_an_expired_token(relay: Relay, office: str) -> None:
    """A token of yesterday says for how long it has been over."""
    old = relay.issuer().mint(Role.OPERATOR, "ada", ["*"], ttl=60, now=time.time() - 7_300)
    assert_said(relay.holder("ada", old).act(office, "click", "1", "1"), 4, "token expired 2 h ago")


def test_the_token_of_another_program(relay: Relay, office: str) -> None:
    """Whoever dials with an agent's token would push that agent off its desk; so nobody does."""
    agents = relay.holder("nobody", relay.issuer().mint(Role.AGENT, office, [office]), Role.AGENT)
    operators = relay.holder("ada", relay.issuer().mint(Role.OPERATOR, "ada", [office]))
    assert_said(agents.act(office, "click", "1", "1"), 2, "token of an agent", "nexus-tui join")
    done = run("nexus_agent", "run", "--synthetic", *operators.options)
    assert_said(done, 2, "token of an operator", "nexus-agent join")
    assert operators.act(office, "screenshot", "-o", "/dev/null").status == 0


def test_a_second_agent_in_one_folder(relay: Relay, office: str) -> None:
    """It would push the first off its desk."""
    assert_said(run("nexus_agent", "run", "--synthetic", *relay.desk(office).options), 2, "another nexus-agent runs")


def test_a_token_that_others_can_read(relay: Relay, office: str, ada: Person) -> None:
    """A secret that is none is refused, as ssh does, with the command that mends it."""
    open_to_all = relay.holder("ada", ada.token.read_text(encoding="utf-8"))
    open_to_all.token.chmod(0o644)
    assert_said(open_to_all.act(office, "click", "1", "1"), 2, "chmod 600")


def test_no_token(relay: Relay, office: str, tmp_path: Path) -> None:
    """Without a token one is told how to get it."""
    options = ("--relay", relay.url, "--state-dir", str(tmp_path))
    for done in together(
        Program("nexus_tui", "action", office, "click", *options, "1", "1"),
        Program("nexus_agent", "run", "--synthetic", *options),
    ):
        assert_said(done, 2, "no relay token", "nexus-relay token")


def test_no_relay_named(tmp_path: Path, office: str) -> None:
    """Without an address one is told the two ways to give it."""
    command = ("desks", "--state-dir", str(tmp_path))
    none, wrong = together(
        Program("nexus_tui", *command), Program("nexus_tui", *command, "--relay", "http://localhost")
    )
    assert_said(none, 2, "--relay", "NEXUS_RELAY")
    assert_said(wrong, 2, "wss://")


def test_a_relay_that_is_not_there(nobody: Person) -> None:
    """A console's command gives up at once and says what to look at."""
    assert_said(nobody.act("office", "click", "1", "1"), 4, nobody.url, "is nexus-relay running there?")


def test_a_desk_that_is_not_there(ada: Person, relay: Relay, office: str) -> None:
    """Its name is in the answer; so it is for a desk that the token does not reach."""
    limited = relay.person("bob", Role.OPERATOR, "elsewhere")
    absent, impossible, forbidden = together(
        ada.acting("offfice", "click", "1", "1"),
        ada.acting("no such desk", "click", "1", "1"),
        limited.acting(office, "click", "1", "1"),
    )
    assert_said(absent, 4, "offfice")
    assert_said(impossible, 2, "'no such desk'")
    assert_said(forbidden, 4, office)


# ---- The agent's desk and policy


def test_an_agent_without_a_display(relay: Relay) -> None:
    """No DISPLAY: one is told the ways to a desktop."""
    holders = [relay.person(name, Role.AGENT, name) for name in ("blind", "lost")]
    none, wrong = together(
        Program("nexus_agent", "run", *holders[0].options),
        Program("nexus_agent", "run", *holders[1].options, "--display", ":987"),
    )
    assert_said(none, 4, "DISPLAY", "--virtual", "--synthetic")
    assert_said(wrong, 4, ":987")


def test_a_virtual_desk_of_no_size(relay: Relay) -> None:
    """What is no size of a desk is a usage error, and nothing is started."""
    options = relay.holder("nobody", "a.b.c", Role.AGENT).options
    sizes = ("nonsense", "800", "10x10", "800x", "99999x99999", "-5x100")
    for size, done in zip(
        sizes, together(*(Program("nexus_agent", "run", *options, f"--virtual={size}") for size in sizes)), strict=True
    ):
        assert_said(done, 2, size)


def test_a_command_that_cannot_be_started_on_a_virtual_desk(relay: Relay) -> None:
    """A typo in the command is told by its name."""
    holder = relay.person("typo", Role.AGENT, "typo")
    done = run("nexus_agent", "run", *holder.options, "--virtual", "320x200", "--", "xtrem")
    assert_said(done, 2, "'xtrem'")


def test_a_broken_policy_denies_all_but_viewing(relay: Relay, ada: Person, display: str, canvas: Canvas) -> None:
    """The agent serves and says what is wrong; the console shows it and the picture; every action is refused."""
    canvas.paint(TEAL)
    with relay.agent("strict", "--display", display, policy='[defaults]\nclick = "alow"\n') as agent:
        agent.line(lambda line: "everything but viewing is denied" in line and "did you mean 'allow'?" in line, "error")
        assert_said(ada.act("strict", "click", "5", "5"), 3, "denied", "policy.toml")
        with ada.console("strict") as console:
            console.wait(lambda screen: screen.area_of([TEAL]), "the picture")
            console.wait_text("⚠ the policy cannot be used")
    assert canvas.clicks() == []


def test_an_unreadable_policy_denies_all_but_viewing(relay: Relay, ada: Person) -> None:
    """A policy that is there and cannot be read is not an absent one."""
    holder = relay.desk("locked")
    (holder.folder / "policy.toml").mkdir()  # unreadable for root as well
    with Program("nexus_agent", "run", "--synthetic", *holder.options) as agent:
        agent.line("serving desk locked")
        agent.line(lambda line: "everything but viewing is denied" in line, "error")
        assert_said(ada.act("locked", "click", "5", "5"), 3, "denied")


# ---- Actions


def test_coordinates_off_the_screen(ada: Person, office: str, canvas: Canvas) -> None:
    """Off this desk: failed, with the desk's size. Off any desk: usage, before anything is dialled."""
    for done in together(
        ada.acting(office, "click", "800", "10"),
        ada.acting(office, "drag", "1", "1", "1", "500"),
        ada.acting(office, "screenshot", "-o", "never.png", "--region", "700,0,200,10"),
    ):
        assert_said(done, 1, "800×500")
    for done in together(ada.acting(office, "click", "70000", "10"), ada.acting(office, "click", "--", "-5", "10")):
        assert_said(done, 2)
    assert canvas.events() == []


def test_a_key_that_nobody_knows(ada: Person, office: str) -> None:
    """The nearest keys are named."""
    near, far = together(ada.acting(office, "key", "ctrl+entr"), ada.acting(office, "key", "hyper+x"))
    assert_said(near, 2, "'entr'", "enter")
    assert_said(far, 2, "'hyper'")


def test_arguments_that_make_no_sense(ada: Person, office: str) -> None:
    """What click itself finds wrong is two lines or less, too."""
    wrong = (("click", "left", "5"), ("click", "5"), ("clik", "5", "5"), ("scroll", "5", "5"))
    for done in together(*(ada.acting(office, *arguments) for arguments in wrong)):
        assert done.status == 2, done
        assert done.out == ""
        assert done.error
        assert "Traceback" not in done.error


def test_a_viewer_who_clicks_is_refused(guest: Person, office: str, canvas: Canvas) -> None:
    """Exit status 3, and why."""
    assert_said(guest.act(office, "click", "5", "5"), 3, "a viewer only watches")
    assert canvas.clicks() == []


def test_a_viewers_click_on_the_picture_is_refused(guest: Person, office: str, canvas: Canvas) -> None:
    """In the console as on the command line: the person is told, and nothing reaches the desk."""
    canvas.paint(TEAL)
    with guest.console(office) as console:
        console.wait(lambda screen: (box := screen.area_of([TEAL])) is not None and box.columns == 74, "the picture")
        console.click(30, 18)
        console.wait_text("a viewer only watches")
    assert canvas.clicks() == []


def test_a_result_that_cannot_be_written_here(ada: Person, office: str, tmp_path: Path) -> None:
    """The screenshot was taken; that it could not be kept is told."""
    target = tmp_path / "missing" / "shot.png"
    assert_said(ada.act(office, "screenshot", "-o", str(target)), 1, str(target), "No such file or directory")


# ---- The console


def test_connect_without_a_terminal(ada: Person, office: str) -> None:
    """A script that meant something else is told what there is for scripts."""
    assert_said(run("nexus_tui", "connect", office, *ada.options), 2, "terminal", "nexus-tui action")


@pytest.mark.parametrize(("who", "status", "says"), [("nobody", 4, "is nexus-relay running"), ("ada", 4, "atlantis")])
def test_a_console_that_cannot_connect_says_so_on_the_plain_terminal(
    request: pytest.FixtureRequest, office: str, who: str, status: int, says: str
) -> None:
    """No full-screen program flashes by: the terminal shows one line, and the status is right."""
    person: Person = request.getfixturevalue(who)
    with person.console("atlantis") as terminal:
        assert terminal.ended() == status
        terminal_text = terminal.look(lambda screen: screen.text).strip()
    assert terminal_text.startswith("nexus-tui: ")
    assert says in terminal_text.replace("\n", "")


def test_a_typo_in_the_settings_keeps_nobody_out(relay: Relay, office: str, canvas: Canvas) -> None:
    """The console starts, passes over what it does not know, and says so by name."""
    canvas.paint(TEAL)
    carl = relay.person("carl", Role.OPERATOR)
    settings = 'reley = "ws://nowhere"\n[keys]\ndrve = "f2"\ndrive = "f3"\n'
    (carl.folder / "nexus-tui.toml").write_text(settings, encoding="utf-8")
    with carl.console(office) as console:
        console.wait(lambda screen: screen.area_of([TEAL]), "the picture")
        console.wait_told("did you mean 'relay'?")
        console.wait_told("did you mean 'drive'?")
        console.send("\x1bOR")
        console.wait_text("DRIVING")


def test_settings_that_are_no_toml_keep_nobody_out(relay: Relay, office: str, canvas: Canvas) -> None:
    """A file that cannot be read at all is passed over whole, and its line is named."""
    canvas.paint(TEAL)
    dora = relay.person("dora", Role.OPERATOR)
    (dora.folder / "nexus-tui.toml").write_text('desk = "office\n', encoding="utf-8")
    with dora.console(office) as console:
        console.wait(lambda screen: screen.area_of([TEAL]), "the picture")
        console.wait_told("nexus-tui.toml", "at line 1")


def test_a_tiny_terminal_is_no_reason_to_fail(ada: Person, office: str, canvas: Canvas) -> None:
    """20×5 and less: the console runs, shows what fits, and is whole again when there is room."""
    canvas.paint(TEAL)
    with ada.console(office, size=(20, 5)) as console:
        console.wait(lambda screen: screen.area_of([TEAL]), "some of the picture")
        for size in ((6, 3), (3, 2)):
            console.resize(*size)
            console.wait(lambda screen: screen.text.strip(), f"what fits into {size}")
        console.resize(20, 5)
        console.wait(lambda screen: screen.area_of([TEAL]), "the picture again")
        console.resize(160, 48)
        console.wait(
            lambda screen: screen.shows("Action log", f"{office}  live")
            and (box := screen.area_of([TEAL])) is not None and box.columns == 160 - 46,
            "the whole console",
        )  # fmt: skip
        console.send("\x11")
        assert console.ended() == 0


def test_a_dumb_terminal_shows_something(ada: Person, office: str, canvas: Canvas) -> None:
    """TERM=dumb and no COLORTERM: fewer colours or a sentence, and no traceback."""
    canvas.paint(TEAL)
    command = ["env", "-u", "COLORTERM", "TERM=dumb", *ada.command("connect", office)]
    with Terminal(command, environment(), (80, 24)) as console:
        console.wait_text(office)
        console.send("\x11")
        assert console.ended() == 0
        assert "Traceback" not in console.look(lambda screen: screen.text)
