"""``python -m nexus_tui`` is nexus-tui."""

from .cli import main

main()
