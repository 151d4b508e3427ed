"""``python -m nexus_agent`` is ``nexus-agent``."""

from .cli import main

if __name__ == "__main__":
    main()
