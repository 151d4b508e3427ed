"""Invitations as visitors meet them: a proof becomes a token, and an agent's word becomes an invitation.

What is done here waits for the disk: call it from a thread.
"""

from __future__ import annotations

import structlog

from nexus_protocol.errors import NexusError, Unauthorized, UsageError
from nexus_protocol.relay_messages import Invite, Invited, Joined, NotInvited, from_invite, from_join
from nexus_protocol.vocabulary import Role

from .claims import Claims
from .invitations import TooMany
from .issuer import Issuer

log = structlog.get_logger("relay")


def join(issuer: Issuer, proof: bytes, held: Claims | None) -> str:
    """The Joined that the proof is good for, once. Raises Unauthorized, or NexusError when nothing can be kept."""
    token = issuer.redeem(proof, held)
    claims = issuer.verify(token)
    log.info("an invitation was redeemed", subject=claims.subject, role=claims.role.value, token=claims.family)
    return from_join.encode(Joined(token, claims.subject, claims.role, claims.desks, claims.expires)).decode()


def invite(issuer: Issuer, agent: Claims, wanted: Invite) -> str:
    """Invited or NotInvited. The desk is the agent's own, whatever it says."""
    return from_invite.encode(_invite(issuer, agent, wanted)).decode()


def _invite(issuer: Issuer, agent: Claims, wanted: Invite) -> Invited | NotInvited:
    if wanted.role is Role.AGENT:
        return NotInvited("forbidden", "an agent cannot invite another agent; on the relay's host: nexus-relay invite")
    try:
        expires = issuer.invite(
            wanted.digest, wanted.role, wanted.subject, agent.desk, wanted.seconds, ttl=wanted.token_seconds, by=agent
        )
        return Invited(expires, agent.desk)
    except Unauthorized as error:
        return NotInvited("forbidden", str(error))
    except UsageError as error:
        return NotInvited("malformed", str(error))
    except TooMany as error:
        return NotInvited("too-many", f"{error}; wait until one is used or expires")
    except NexusError as error:
        log.error("an invitation could not be kept", desk=agent.desk, error=str(error))
        return NotInvited("unavailable", "the relay cannot keep an invitation now; try again later")
