"""Settings for every test."""

from hypothesis import settings

import netemu.kernel  # noqa: F401  first, as every user of the public surface has it: one order of declarations

# The first example may compile the functions under test, which takes longer than any deadline worth having.
settings.register_profile("netemu", deadline=None, print_blob=True)
settings.load_profile("netemu")
