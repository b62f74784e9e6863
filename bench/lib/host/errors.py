"""The errors that end a section."""

from __future__ import annotations


class BenchError(Exception):
    """Something did not run. The text says what failed and what the user can do about it."""


class ProgramMissing(BenchError):
    """A program is not installed. The log of a running server does not explain this error."""
