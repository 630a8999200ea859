"""The `lspsim` command: parse, call, print. Floor 7; nothing is computed here."""

from lspsim.cli.app import app, main

__all__ = ["app", "main"]
