"""Patterns of removal other than free blocks: whole units, low rank."""
