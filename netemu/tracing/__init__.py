"""Following a run event by event, on a watched machine: lives of pages and packets, and the kernel's tracepoints."""
