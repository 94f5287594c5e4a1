"""Emulated NIC drivers, each a plug-in."""
