"""The museum: historic bugs of the network memory path, each one played in its broken form and after its fix."""

from __future__ import annotations

from .. import kernel as _kernel  # noqa: F401  first: one order of declarations
from .catalogue import EXHIBITS, Exhibit, Showing, chosen, exhibit, show

__all__ = ["EXHIBITS", "Exhibit", "Showing", "chosen", "exhibit", "show"]
