"""Checking netemu, and code that is driven through it, against recorded answers of real kernels."""
