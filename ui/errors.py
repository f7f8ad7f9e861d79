"""Errors whose text is the sentence that the user reads."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user gave can't be used; ``str(error)`` says why and what to do."""


class EngineError(UserError):
    """The engine can't be started, has ended or has answered with an error.

    Parameters
    ----------
    message : str
        The sentence.
    details : str
        A traceback or the engine's last output, for the log.
    user_fault : bool
        True where the user can mend it: a wrong polygon, a missing file, no environment.
    commands : str
        Commands for a terminal that mend it, one a line; empty where none do.
    """

    def __init__(self, message: str, details: str = "", user_fault: bool = False, commands: str = "") -> None:
        super().__init__(message)
        self.details = details
        self.user_fault = user_fault
        self.commands = commands
