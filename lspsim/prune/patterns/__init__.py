"""Patterns of removal other than blocks: structured pruning (neurons, head channels), low rank."""
