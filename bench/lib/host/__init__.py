"""The machine: its programs, processes, cores and disk."""
