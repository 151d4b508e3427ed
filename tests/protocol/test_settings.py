"""State folders, secrets, settings files, the relay's address and token."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nexus_protocol.errors import UsageError
from nexus_protocol.settings import (
    RELAY,
    TOKEN,
    RelayToken,
    checked_url,
    joined_relay,
    keep_joined,
    read_secret,
    read_toml,
    relay_token,
    relay_url,
    state_dir,
    unknown_key,
    write_secret,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NEXUS_STATE_DIR", "NEXUS_RELAY", "NEXUS_TOKEN", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the state folder -------------------------------------------------------------------------------------------


def test_the_state_folder_is_the_owners_alone(tmp_path: Path) -> None:
    """Made with its parents, mode 0700."""
    folder = state_dir("nexus-tui", str(tmp_path / "a" / "b"))
    assert folder == tmp_path / "a" / "b"
    assert mode_of(folder) == 0o700


def test_the_option_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--state-dir, then NEXUS_STATE_DIR, then the XDG folder of that program."""
    monkeypatch.setenv("NEXUS_STATE_DIR", str(tmp_path / "environment"))
    assert state_dir("nexus-tui", str(tmp_path / "option")) == tmp_path / "option"
    assert state_dir("nexus-tui") == tmp_path / "environment"
    monkeypatch.delenv("NEXUS_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_dir("nexus-tui") == tmp_path / "xdg" / "nexus-tui"


def test_a_state_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file in its place, or a home that does not exist: the error names the option."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="choose one with --state-dir"):
        state_dir("nexus-tui", str(tmp_path / "file" / "inside"))
    with pytest.raises(UsageError, match="no such home"):
        state_dir("nexus-tui", "~nobody-of-that-name/state")


# -- secrets ----------------------------------------------------------------------------------------------------


def test_a_secret_is_the_owners_alone(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, also when it replaces a file that was open to all; nothing is left beside it."""
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_secret(path, b"new")
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600
    assert read_secret(path) == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_that_is_there_can_be_left_there(tmp_path: Path) -> None:
    """Without `replace` only the first is written; whoever comes second is told."""
    path = tmp_path / "key"
    write_secret(path, b"first", replace=False)
    with pytest.raises(FileExistsError):
        write_secret(path, b"second", replace=False)
    assert read_secret(path) == b"first"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the new content, never the old; and leaves nothing behind."""
    path = tmp_path / "key"
    write_secret(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_secret(path, b"new")
    assert read_secret(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_secret_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    """As ssh does, with the command that mends it."""
    path = tmp_path / "key"
    write_secret(path, b"x")
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}.*chmod 600"):
        read_secret(path)


def test_a_secret_that_is_not_there(tmp_path: Path) -> None:
    """Missing, or a folder."""
    with pytest.raises(UsageError, match="No such file"):
        read_secret(tmp_path / "none")
    with pytest.raises(UsageError, match="directory"):
        read_secret(tmp_path)


# -- settings files ---------------------------------------------------------------------------------------------


def test_a_settings_file_that_is_missing_is_empty(tmp_path: Path) -> None:
    """Nothing needs to be configured."""
    assert read_toml(tmp_path / "none.toml") == {}


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"a = 1\na = 2", b"a = " + b"[" * 50_000])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    """File and fault, no traceback."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"config\.toml"):
        read_toml(path)


def test_a_fault_in_a_settings_file_names_its_line(tmp_path: Path) -> None:
    """The line is where the person looks."""
    path = tmp_path / "config.toml"
    path.write_text("relay = 'ws://x'\nfps = \n")
    with pytest.raises(UsageError, match="line 2"):
        read_toml(path)


def test_an_unknown_key_names_the_nearest() -> None:
    """A typo in a settings file is answered with the key that was meant, else with all there are."""
    assert "did you mean 'relay'" in str(unknown_key("config.toml", "realy", ["relay", "token"]))
    assert "known: relay, token" in str(unknown_key("config.toml", "zzz", ["token", "relay"]))


# -- the relay's address ----------------------------------------------------------------------------------------


def test_the_relay_is_named_by_option_environment_config_then_the_one_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest to the command line wins."""
    config = {"relay": "wss://config"}
    keep_joined(tmp_path, "wss://joined", "a-token")
    assert relay_url(None, {}, tmp_path) == "wss://joined"
    assert relay_url(None, config, tmp_path) == "wss://config"
    monkeypatch.setenv("NEXUS_RELAY", "wss://environment/")
    assert relay_url(None, config, tmp_path) == "wss://environment"
    assert relay_url("ws://127.0.0.1:8443", config, tmp_path) == "ws://127.0.0.1:8443"


def test_an_address_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A file that holds no text is no relay."""
    (tmp_path / RELAY).write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot read"):
        relay_url(None, {}, tmp_path)


@pytest.mark.parametrize("url", ["ws://h", "wss://h:1", "wss://h:65535/nexus", "ws://[::1]:80"])
def test_addresses_a_relay_can_have(url: str) -> None:
    """Host, port, and a path in front of the relay's own."""
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["https://relay.example", "relay.example:8443", "ws://", "wss://:80", "ws://h:x", "ws://h:99999", "ws://h:0",
     "ws://[::1", "wss://h?x=1", "wss://h#x", "wss://h\r\nX: y", "wss://a b"],
)  # fmt: skip
def test_addresses_no_relay_can_have(url: str) -> None:
    """The error shows what was given and how an address looks."""
    with pytest.raises(UsageError, match="is not a relay's address"):
        checked_url(url)


def test_no_relay_named(tmp_path: Path) -> None:
    """The error says the three ways to name one."""
    with pytest.raises(UsageError, match=r"`join`.*--relay wss://HOST, or set NEXUS_RELAY"):
        relay_url(None, {}, tmp_path)


# -- the relay's token ------------------------------------------------------------------------------------------


def test_the_token_is_the_file_named_then_the_environment_then_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Precedence as in the help."""
    write_secret(tmp_path / "token", b"folder\n")
    write_secret(tmp_path / "other", b"option\n")
    assert relay_token(tmp_path, None).text == "folder"
    monkeypatch.setenv("NEXUS_TOKEN", " environment\n")
    assert relay_token(tmp_path, None).text == "environment"
    assert relay_token(tmp_path, str(tmp_path / "other")).text == "option"
    monkeypatch.setenv("NEXUS_TOKEN", " ")
    assert relay_token(tmp_path, None).text == "folder"


def test_no_token(tmp_path: Path) -> None:
    """The error says the two ways to get one."""
    with pytest.raises(UsageError, match=r"run `join`.*nexus-relay token"):
        relay_token(tmp_path, None)


def test_a_token_others_can_read_is_refused(tmp_path: Path) -> None:
    """It is a secret like any other."""
    path = tmp_path / "token"
    path.write_text("abc")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        relay_token(tmp_path, None)


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"a\r\nHost: evil", b"\xff\xfe", b"a\0b"])
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is sent in a header cannot end it."""
    write_secret(tmp_path / "token", content)
    with pytest.raises(UsageError, match="does not hold a relay token"):
        relay_token(tmp_path, None)


def test_what_was_joined_is_kept_and_is_the_owners_alone(tmp_path: Path) -> None:
    """The relay and its token; joining again replaces both."""
    for relay, token in (("wss://one", "first"), ("wss://two", "second")):
        keep_joined(tmp_path, relay, token)
        assert joined_relay(tmp_path) == relay
        assert relay_token(tmp_path, None).text == token
    assert mode_of(tmp_path / TOKEN) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {TOKEN, RELAY}


def test_what_was_joined_cannot_be_kept(tmp_path: Path) -> None:
    """The error names the folder and the option that chooses another, and not the token."""
    with pytest.raises(UsageError, match="choose a folder with --state-dir") as error:
        keep_joined(tmp_path / "none", "wss://one", "s3cret")
    assert "s3cret" not in str(error.value)


def test_a_renewed_token_is_used_and_kept(tmp_path: Path) -> None:
    """In the file that it came from, 0600 as before."""
    write_secret(tmp_path / "mine", b"old")
    token = relay_token(tmp_path, str(tmp_path / "mine"))
    token.renew("new")
    assert token.text == "new"
    assert (tmp_path / "mine").read_text() == "new"
    assert mode_of(tmp_path / "mine") == 0o600
    assert relay_token(tmp_path, str(tmp_path / "mine")).text == "new"


def test_a_renewed_token_of_the_environment_is_used_and_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever set the variable did not want a file."""
    monkeypatch.setenv("NEXUS_TOKEN", "old")
    token = relay_token(tmp_path, None)
    token.renew("new")
    assert token.text == "new"
    assert list(tmp_path.iterdir()) == []


def test_a_renewed_token_that_cannot_be_kept_is_used_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says which file, and not the token."""
    token = RelayToken("old", tmp_path / "none" / "token")
    token.renew("s3cret")
    assert token.text == "s3cret"
    (record,) = caplog.records
    assert "cannot keep the renewed relay token" in record.getMessage()
    assert "s3cret" not in record.getMessage()


def test_a_token_does_not_show() -> None:
    """Neither in a log nor in an error."""
    assert "s3cret" not in f"{RelayToken('s3cret')!r} {RelayToken('s3cret', Path('token'))}"
