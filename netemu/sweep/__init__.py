"""Grids of replays: what to run, running it in many processes, and the table of results."""
