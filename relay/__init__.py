"""nexus-relay, the switchboard that agents and operators dial: it introduces them and copies sealed bytes.

- claims.py: who a connection speaks for
- tokens.py: claims as signed tokens, and back
- outbox.py: what waits to be sent to one peer, bounded, fair between its links
- switchboard.py: presence and links: every decision, no I/O
- server.py: the same over WebSockets
- cli.py: the command line
"""
