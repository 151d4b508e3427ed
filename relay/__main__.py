"""``python -m relay`` is ``nexus-relay``."""

from .cli import main

if __name__ == "__main__":
    main()
