"""Commands about accelerators: check, simulate, compare, trace, hardware."""
