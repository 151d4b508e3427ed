"""nexus-relay, the switchboard that agents and operators dial: it introduces them and copies sealed bytes.

Who may come in:

- claims.py: who a connection speaks for
- keyring.py: the keys that sign; tokens.py: claims as signed tokens, and back (PyJWT's edge)
- ledger.py: which tokens were made and taken back; invitations.py: which invitations wait
- store.py: the files of the state folder; issuer.py: all of that as one
- admission.py: what a handshake must show; joining.py: what it is given for an invitation; tenure.py: how long it stays

What they do here:

- outbox.py: what waits to be sent to one peer, bounded, fair between its links
- switchboard.py: presence and links: every decision, no I/O
- server.py: the same over WebSockets (their edge)
- cli.py: the command line
"""
