"""Data: which release does what, and what an operation costs on which machine."""
