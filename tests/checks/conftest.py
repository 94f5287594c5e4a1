"""Tests of the plug-in run pytest inside pytest."""

pytest_plugins = ["pytester"]
