"""Errors whose message is the sentence that the user reads."""

from __future__ import annotations


class ExemplarError(Exception):
    """Root of all errors raised on purpose. ``str(error)`` says what to do."""


class InputError(ExemplarError):
    """Something the user gave can't be used: a file, a polygon, an option."""


class CancelledError(ExemplarError):
    """The user cancelled the run, or what the sentence says."""

    def __init__(self, sentence: str = "The run was cancelled; nothing was written.") -> None:
        super().__init__(sentence)
