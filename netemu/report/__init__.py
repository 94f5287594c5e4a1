"""Reports: what a replay found, from its result mapping alone."""
