"""The policy: what role, permission, rules and a broken file come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import Action, Click, Execute, FileRead, Screenshot, Type
from nexus_protocol.errors import UsageError
from nexus_protocol.vocabulary import Effect, Permission, Role

ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY
WATCHING = {Permission.VIEW, Permission.SCREENSHOT}
Write = Callable[[str], Path]

GIT = """
[[rule]]
permission = "execute"
who = "automation"
match = "git status*"
effect = "allow"
"""


def execute(*argv: str) -> Execute:
    return Execute(argv=argv)


@pytest.mark.parametrize("permission", Permission)
def test_built_in_defaults_of_each_role(permission: Permission, tmp_path: Path) -> None:
    """Without a file an operator is asked for the dangerous, automation for all but watching, a viewer only watches."""
    policy = Policy.load(tmp_path / "policy.toml")
    dangerous = {Permission.FILE_READ, Permission.FILE_WRITE, Permission.EXECUTE, Permission.CLIPBOARD_READ}
    assert policy.judge(Role.OPERATOR, "a", permission).effect is (ASK if permission in dangerous else ALLOW)
    assert policy.judge(Role.AUTOMATION, "a", permission).effect is (ALLOW if permission in WATCHING else ASK)
    assert policy.judge(Role.VIEWER, "a", permission).effect is (ALLOW if permission in WATCHING else DENY)
    assert policy.judge(Role.AGENT, "a", permission).effect is DENY


@pytest.mark.parametrize(
    ("role", "action", "effect", "why"),
    [
        (Role.AUTOMATION, execute("git", "status", "-s"), ALLOW, "rule 1: execute git status* by automation"),
        (Role.AUTOMATION, execute("git", "push"), ASK, "default for automation"),
        (Role.OPERATOR, execute("git", "status"), ASK, "default for operator"),
        (Role.VIEWER, execute("git", "status"), DENY, "a viewer only watches"),
    ],
)
def test_a_rule_fits_by_role_and_command(
    policy_file: Write, role: Role, action: Action, effect: Effect, why: str
) -> None:
    """A rule decides for the role and the commands it names; everything else is left to the default, and it is said."""
    assert Policy.load(policy_file(GIT)).decide(role, "ci", action) == (effect, why)


def test_a_command_is_one_argument_list_and_no_shell_line(policy_file: Write) -> None:
    """A glob sees arguments quoted, so another program cannot be smuggled in front of what it names."""
    policy = Policy.load(policy_file(GIT))
    assert policy.decide(Role.AUTOMATION, "ci", execute("sh", "-c", "git status")).effect is ASK
    assert policy.decide(Role.AUTOMATION, "ci", execute("git status")).effect is ASK


def test_deny_beats_ask_beats_allow_whatever_their_order(policy_file: Write) -> None:
    """Among the rules that fit, the strictest has the last word."""
    rules = {effect: f'[[rule]]\npermission = "type"\neffect = "{effect}"\n' for effect in Effect}
    assert Policy.load(policy_file(rules[ALLOW] + rules[DENY] + rules[ASK])).decide(
        Role.OPERATOR, "a", Type(text="x")
    ) == (DENY, "rule 2: type by anyone")
    assert Policy.load(policy_file(rules[ALLOW] + rules[ASK])).decide(Role.OPERATOR, "a", Type(text="x")).effect is ASK


def test_a_rule_may_name_one_operator(policy_file: Write) -> None:
    """`who` is a role or a name."""
    policy = Policy.load(policy_file('[[rule]]\npermission = "click"\nwho = "mallory"\neffect = "deny"\n'))
    assert policy.decide(Role.OPERATOR, "mallory", Click(x=1, y=1)).effect is DENY
    assert policy.decide(Role.OPERATOR, "alice", Click(x=1, y=1)).effect is ALLOW


def test_a_roles_word_is_the_role_whoever_has_it_for_a_name(policy_file: Write) -> None:
    """A subject called `operator` gets nothing that is meant for operators."""
    policy = Policy.load(policy_file('[[rule]]\npermission = "execute"\nwho = "operator"\neffect = "allow"\n'))
    assert policy.decide(Role.AUTOMATION, "operator", execute("ls")).effect is ASK
    assert policy.decide(Role.OPERATOR, "alice", execute("ls")).effect is ALLOW


def test_tables_of_roles_change_single_defaults(policy_file: Write) -> None:
    """[defaults], [automation] and [viewer] replace what they name and leave the rest."""
    policy = Policy.load(
        policy_file('[defaults]\nexecute = "deny"\n[automation]\nclick = "allow"\n[viewer]\nscreenshot = "deny"\n')
    )
    assert policy.decide(Role.OPERATOR, "a", execute("ls")) == (DENY, "default for operator")
    assert policy.decide(Role.OPERATOR, "a", Click(x=1, y=1)).effect is ALLOW
    assert policy.decide(Role.AUTOMATION, "a", Click(x=1, y=1)).effect is ALLOW
    assert policy.decide(Role.VIEWER, "a", Screenshot()).effect is DENY


def test_no_rule_raises_a_viewer(policy_file: Write) -> None:
    """A rule for everyone does not reach a viewer with more than watching."""
    policy = Policy.load(policy_file('[[rule]]\npermission = "click"\neffect = "allow"\n'))
    assert policy.decide(Role.VIEWER, "eve", Click(x=1, y=1)).effect is DENY


def test_path_rules_are_held_against_real_paths(
    policy_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` and links in the fixed part of a pattern are resolved, as the paths of actions are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    policy = Policy.load(policy_file('[[rule]]\npermission = "file_read"\nmatch = "~/no*"\neffect = "deny"\n'))
    real = os.path.realpath(tmp_path / "real")
    assert policy.decide(Role.OPERATOR, "a", FileRead(path=f"{real}/notes")).effect is DENY
    assert policy.decide(Role.OPERATOR, "a", FileRead(path=f"{real}/yes")).effect is ASK


def test_effects_in_general_leave_out_rules_for_single_actions(policy_file: Write) -> None:
    """What a console is told at first does not promise what only some commands get."""
    assert Policy.load(policy_file(GIT)).effects(Role.AUTOMATION, "ci")[Permission.EXECUTE] is ASK


@pytest.mark.parametrize(("text", "seconds"), [('"90s"', 90), ('"5m"', 300), ('"1h"', 3600), ("30", 30)])
def test_timeout_is_a_time(policy_file: Write, text: str, seconds: float) -> None:
    """Requests wait as long as the file says."""
    assert Policy.load(policy_file(f"timeout = {text}")).timeout == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\nview = allow", "line 2"),
        ('[default]\nview = "allow"', "line 1: unknown key 'default'; did you mean 'defaults'?"),
        ('[defaults]\nview = "allow"\nclik = "ask"', "line 3: unknown permission 'clik'; did you mean 'click'?"),
        ('[viewer]\nview = "alow"', "line 2: unknown effect 'alow'; did you mean 'allow'?"),
        ('[viewer]\nclick = "ask"', "line 2: a viewer only watches"),
        ('[defaults]\nview = "ask"', "line 2: view is allowed or denied"),
        (
            GIT + '\n[[rule]]\npermission = "type"\nefect = "ask"',
            "line 10: unknown key 'efect'; did you mean 'effect'?",
        ),
        (GIT + '\n[[rule]]\npermission = "type"', "line 8: rule 2 has no effect"),
        ('[[rule]]\npermission = "click"\nmatch = "x"\neffect = "ask"', "line 3: click has no text to match"),
        ('[[rule]]\npermission = "type"\neffect = 1', "line 3: effect is text in quotes, not 1"),
        ("rule = 3", "line 1: a rule is written as a table"),
        ("defaults = 3", "line 1: defaults is a table"),
        ('timeout = "soon"', "line 1: timeout is a time like"),
        ('timeout = "2d"', "line 1: timeout is a time like"),
        ('timeout = "0s"', "line 1: timeout is at least 1s"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(policy_file: Write, text: str, said: str) -> None:
    """File, line and the nearest known word."""
    path = policy_file(text)
    with pytest.raises(UsageError) as caught:
        Policy.load(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUTOMATION, Role.VIEWER])
def test_a_broken_policy_leaves_viewing_only(policy_file: Write, role: Role) -> None:
    """With a file that cannot be used everything but view is denied, and every denial says why."""
    policy = Policy.load_or_broken(policy_file("nonsense"))
    assert {p for p, effect in policy.effects(role, "a").items() if effect is not DENY} == {Permission.VIEW}
    assert policy.problem in policy.decide(role, "a", Screenshot()).why


def test_an_unreadable_policy_is_broken(tmp_path: Path) -> None:
    """A folder in the file's place stands for all that cannot be read."""
    (tmp_path / "policy.toml").mkdir()
    assert "cannot read" in Policy.load_or_broken(tmp_path / "policy.toml").problem
