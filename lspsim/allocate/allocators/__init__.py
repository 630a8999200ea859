"""Allocators: each takes menus and returns an `Allocation`; one file each."""
