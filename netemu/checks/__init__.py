"""Checks of the machine's state: where every page is, and whether the books agree."""
