"""Settings for every test."""

from hypothesis import settings

# The first example may compile the functions under test, which takes longer than any deadline worth having.
settings.register_profile("netemu", deadline=None, print_blob=True)
settings.load_profile("netemu")
