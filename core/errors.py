"""Errors whose message is the sentence that the user reads."""

from __future__ import annotations


class ExemplarError(Exception):
    """Root of all errors raised on purpose. ``str(error)`` says what to do."""


class InputError(ExemplarError):
    """Something the user gave can't be used: a file, a polygon, an option."""


OUT_OF_MEMORY = "There is not enough memory. Ask for a coarser resolution or close programs."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed for want of memory, also where torch calls that something else."""
    told = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or "OutOfMemory" in told or "CPUAllocator" in told


class CancelledError(ExemplarError):
    """The user cancelled the run, or what the sentence says."""

    def __init__(self, sentence: str = "The run was cancelled; nothing was written.") -> None:
        super().__init__(sentence)
