"""The museum: historic bugs of the network memory path, each one played in its broken form and after its fix."""

from __future__ import annotations

from .catalogue import EXHIBITS, Exhibit, Showing, exhibit, show

__all__ = ["EXHIBITS", "Exhibit", "Showing", "exhibit", "show"]
