"""What the desk's policy file says of an action: allow, ask or deny, and why.

The file is read once, into plain values; every decision after that is pure. Holding an action until somebody
decides is `requests`' business, and carrying a decision out is the runner's.

    timeout = "60s"                 # how long a request waits

    [defaults]                      # role operator; [automation] and [viewer] are the same for those roles
    execute = "ask"

    [[rule]]
    permission = "execute"
    who = "automation"              # a role or an operator's name; left out: everyone
    match = "git status*"           # the command, the path, or the text; left out: anything
    effect = "allow"

Among the rules that fit, deny beats ask and ask beats allow. Where none fits, the role's default decides.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from nexus_protocol.actions import PERMISSION_OF, Action, subject_of
from nexus_protocol.errors import UsageError
from nexus_protocol.settings import read_toml, unknown_key
from nexus_protocol.vocabulary import Effect, Permission, Role

DEFAULT_TIMEOUT = 60.0
LONGEST_TIMEOUT = 24 * 3600.0

_STRICTEST = (Effect.DENY, Effect.ASK, Effect.ALLOW)
_PATHS = frozenset({Permission.FILE_READ, Permission.FILE_WRITE})
_MATCHABLE = _PATHS | {Permission.EXECUTE, Permission.TYPE, Permission.CLIPBOARD_WRITE}
_ROLES = frozenset(Role)
"""Words that name a role in ``who``, also where somebody has one for a name."""
_WATCHING = frozenset({Permission.VIEW, Permission.SCREENSHOT})
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_TABLES = {"defaults": Role.OPERATOR, "automation": Role.AUTOMATION, "viewer": Role.VIEWER}
_KEYS = ("timeout", *_TABLES, "rule")
_RULE_KEYS = ("permission", "who", "match", "effect")

Defaults = Mapping[Role, Mapping[Permission, Effect]]


def _built_in() -> dict[Role, dict[Permission, Effect]]:
    asked = (Permission.FILE_READ, Permission.FILE_WRITE, Permission.EXECUTE, Permission.CLIPBOARD_READ)
    return {
        Role.OPERATOR: {p: Effect.ASK if p in asked else Effect.ALLOW for p in Permission},
        Role.AUTOMATION: {p: Effect.ALLOW if p in _WATCHING else Effect.ASK for p in Permission},
        Role.VIEWER: {p: Effect.ALLOW if p in _WATCHING else Effect.DENY for p in Permission},
    }


class Decision(NamedTuple):
    """``why`` names the rule or the default, in words for the person who meets it."""

    effect: Effect
    why: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rule]]``; ``who`` and ``match`` may be None, which fits everyone and anything."""

    number: int
    permission: Permission
    effect: Effect
    who: str | None = None
    match: str | None = None
    _fits: Callable[[str], object] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.match is not None:
            # For a command this is held against its arguments joined as a shell would need them quoted. So
            # `git status*` also fits `git status '; rm -rf /'`: as arguments of git, since no shell reads them.
            pattern = _real_pattern(self.match) if self.permission in _PATHS else self.match
            object.__setattr__(self, "_fits", re.compile(fnmatch.translate(pattern)).match)

    def fits(self, role: Role, subject: str, text: str | None) -> bool:
        """``text`` None asks in general, before any action is known: a rule with a ``match`` then says nothing."""
        if self.who is not None and self.who != (role if self.who in _ROLES else subject):
            return False
        return self._fits is None or (text is not None and bool(self._fits(text)))

    def __str__(self) -> str:
        match = f" {self.match}" if self.match is not None else ""
        return f"rule {self.number}: {self.permission}{match} by {self.who or 'anyone'}"


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy. ``problem`` says why the file cannot be used; then everything but `view` is denied."""

    rules: tuple[Rule, ...] = ()
    defaults: Defaults = field(default_factory=lambda: MappingProxyType(_built_in()))
    timeout: float = DEFAULT_TIMEOUT
    problem: str = ""

    @classmethod
    def broken(cls, reason: str) -> Policy:
        return cls(problem=reason)

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file; a missing one is the built-in defaults. Raises UsageError: file, line, what is wrong."""
        return _Reader(path).policy()

    @classmethod
    def load_or_broken(cls, path: Path) -> Policy:
        """Like :meth:`load`, with a file that cannot be used turned into the policy that denies."""
        try:
            return cls.load(path)
        except UsageError as error:
            return cls.broken(str(error))

    def decide(self, role: Role, subject: str, action: Action) -> Decision:
        """What happens to this action of ``subject``. The path of a file action must be the real one (realpath)."""
        return self.judge(role, subject, PERMISSION_OF[type(action)], subject_of(action))

    def judge(self, role: Role, subject: str, permission: Permission, text: str | None = None) -> Decision:
        """Like :meth:`decide`; without ``text`` it answers in general, leaving rules with a ``match`` out."""
        if self.problem:
            if permission is Permission.VIEW and role is not Role.AGENT:
                return Decision(Effect.ALLOW, "viewing is all that is left without a policy")
            return Decision(Effect.DENY, f"the policy cannot be used: {self.problem}")
        if role not in self.defaults:
            return Decision(Effect.DENY, f"role {role} drives no desk")
        if role is Role.VIEWER and permission not in _WATCHING:
            return Decision(Effect.DENY, "a viewer only watches")
        fitting = [rule for rule in self.rules if rule.permission is permission and rule.fits(role, subject, text)]
        for effect in _STRICTEST:
            for rule in fitting:
                if rule.effect is effect:
                    return Decision(effect, str(rule))
        return Decision(self.defaults[role].get(permission, Effect.ASK), f"default for {role}")

    def effects(self, role: Role, subject: str) -> dict[Permission, Effect]:
        """What this operator may expect, before any action is known."""
        return {permission: self.judge(role, subject, permission).effect for permission in Permission}


def _real_pattern(pattern: str) -> str:
    """The pattern with ``~`` and links in its fixed leading folders resolved: rules are held against real paths."""
    expanded = os.path.expanduser(pattern)
    fixed = re.split(r"[*?\[]", expanded, maxsplit=1)[0]
    folder = fixed if fixed == expanded else fixed.rpartition("/")[0]
    return os.path.realpath(folder) + expanded[len(folder) :] if folder else expanded


class _Reader:
    """Turns the file's tables into a Policy, and every mistake into one line that says where it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = read_toml(path)

    def policy(self) -> Policy:
        for key in self._data:
            if key not in _KEYS:
                raise unknown_key(self._at("", key), key, _KEYS)
        defaults = _built_in()
        for name, role in _TABLES.items():
            for key, value in self._table(name).items():
                permission = self._permission(name, key, key)
                defaults[role][permission] = self._effect(name, key, permission, value, who=role)
        rules = self._data.get("rule", [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise UsageError(f"{self._at('', 'rule')}: a rule is written as a table of its own, under [[rule]]")
        return Policy(
            rules=tuple(self._rule(number, rule) for number, rule in enumerate(rules, 1)),
            defaults=MappingProxyType(defaults),
            timeout=self._timeout(),
        )

    def _table(self, name: str) -> dict[str, Any]:
        table = self._data.get(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"{self._at('', name)}: {name} is a table: [{name}], then one line for each permission")
        return table

    def _rule(self, number: int, table: dict[str, Any]) -> Rule:
        for key, value in table.items():
            if key not in _RULE_KEYS:
                raise unknown_key(self._at("rule", key, number), key, _RULE_KEYS)
            if not isinstance(value, str) or not value:
                raise UsageError(f"{self._at('rule', key, number)}: {key} is text in quotes, not {value!r}")
        for key in ("permission", "effect"):
            if key not in table:
                raise UsageError(f"{self._at('rule', '', number)}: rule {number} has no {key}")
        permission = self._permission("rule", "permission", table["permission"], number)
        who, match = table.get("who"), table.get("match")
        if match is not None and permission not in _MATCHABLE:
            known = ", ".join(p for p in Permission if p in _MATCHABLE)
            where = self._at("rule", "match", number)
            raise UsageError(f"{where}: {permission} has no text to match; only these have: {known}")
        effect = self._effect("rule", "effect", permission, table["effect"], who=who, number=number)
        return Rule(number, permission, effect, who, match)

    def _permission(self, table: str, key: str, word: str, number: int = 0) -> Permission:
        try:
            return Permission(word)
        except ValueError:
            raise _unknown_word(self._at(table, key, number), "permission", word, list(Permission)) from None

    def _effect(
        self, table: str, key: str, permission: Permission, word: Any, *, who: str | None, number: int = 0
    ) -> Effect:
        where = self._at(table, key, number)
        try:
            effect = Effect(word)
        except ValueError:
            raise _unknown_word(where, "effect", word, list(Effect)) from None
        # Refused here rather than ignored later: a policy must not say what will not happen.
        if permission is Permission.VIEW and effect is Effect.ASK:
            raise UsageError(f"{where}: view is allowed or denied; nobody can be asked for it")
        if who == Role.VIEWER and permission not in _WATCHING and effect is not Effect.DENY:
            raise UsageError(f"{where}: a viewer only watches; {permission} cannot be more than deny")
        return effect

    def _timeout(self) -> float:
        value = self._data.get("timeout", DEFAULT_TIMEOUT)
        where = self._at("", "timeout")
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value))
        if isinstance(value, bool) or found is None:
            raise UsageError(f'{where}: timeout is a time like "60s", "5m" or "1h", not {value!r}')
        seconds = float(found[1]) * _UNITS[found[2]]
        if not 1 <= seconds <= LONGEST_TIMEOUT:
            raise UsageError(f"{where}: timeout is at least 1s and at most 24h")
        return seconds

    def _at(self, table: str, key: str, number: int = 0) -> str:
        """``file, line 3`` as far as it can be told: tomllib keeps no lines, so the key is looked for."""
        here, seen, header = "", 0, 0
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for line, text in enumerate(lines, 1):
            if found := re.match(r"\s*\[+\s*([^\]]*?)\s*\]", text):
                here = found[1]
                seen += here == "rule"
                if (here == table and number in (0, seen)) or (not table and here == key):
                    header = header or line
            elif here == table and number in (0, seen) and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", text):
                return f"{self._path}, line {line}"
        return f"{self._path}, line {header}" if header else str(self._path)


def _unknown_word(where: str, what: str, word: Any, known: list[Any]) -> UsageError:
    error = unknown_key(where, str(word), [str(k) for k in known])
    return UsageError(str(error).replace("unknown key", f"unknown {what}"))
