"""Settings for every test."""

import os

from hypothesis import settings

import netemu.kernel  # noqa: F401  first, as every user of the public surface has it: one order of declarations

# The first example may compile the functions under test, which takes longer than any deadline worth having.
settings.register_profile("netemu", deadline=None, print_blob=True)
# Continuous integration judges a change, so it tries the same examples each time; everybody else looks for new ones.
settings.register_profile("ci", settings.get_profile("netemu"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "netemu")
