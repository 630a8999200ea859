"""The `lspsim` command: parse, call, print. Nothing is computed here.

Start with `app` (the command tree). Commands are in folders by what they work on.
"""

from lspsim.cli.app import app, main

__all__ = ["app", "main"]
