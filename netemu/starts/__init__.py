"""Files to start from, commented and running: what ``netemu new`` copies."""
