"""eBPF: object files, maps, helpers, and programs that run safely at native speed."""
