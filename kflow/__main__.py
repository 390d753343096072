"""``python -m kflow``: the command line."""

from __future__ import annotations

from kflow.cli import main

if __name__ == "__main__":
    main()
