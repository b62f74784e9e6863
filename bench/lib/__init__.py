"""The common ground of the scripts in bench/. A room imports only rooms above it in this list:

- host: the machine, its programs and processes.
- measure: the vocabulary of a measurement (section, side, round, row), and how one is taken.
- systems: the systems that are measured and the load generators that drive them.
- results: results as tables, as JSON, as an entry of the ledger and as a picture.

The sections (bench/sections) use the first three rooms; `main`, `command_line` and `script` use everything.
"""
