"""The words that say why: they stand in logs and on terminals."""

from __future__ import annotations

import pytest

from nexus_protocol.errors import ProtocolError
from nexus_protocol.relay_messages import Closed, NotInvited, NotOpened, from_invite, from_relay


@pytest.mark.parametrize("code", ["", "\x1b[2J", "too many", "gone\n", "Gone", "x=1", "a" * 33, "\u0430"])
def test_a_code_that_could_steer_a_terminal_or_a_log_is_not_read(code: str) -> None:
    """Whoever plays the relay says one plain word, or nothing that is understood."""
    for message in (NotOpened(1, code, ""), Closed(1, code)):
        with pytest.raises(ProtocolError):
            from_relay.decode(from_relay.encode(message))
    with pytest.raises(ProtocolError):
        from_invite.decode(from_invite.encode(NotInvited(code, "")))
