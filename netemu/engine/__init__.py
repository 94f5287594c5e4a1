"""How kernel code runs here: record layouts, the one jit wrapper, virtual clocks, call paths, errors."""
