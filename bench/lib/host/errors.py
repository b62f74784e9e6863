"""Why something did not run."""

from __future__ import annotations


class Failed(Exception):
    """Something did not run; the text says what, and what to do about it."""


class Missing(Failed):
    """A program is not there; no server has to do with it."""
