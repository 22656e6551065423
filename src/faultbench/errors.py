"""What goes wrong in ways a user can mend: one or two lines, an exit code, never a traceback."""


class FaultbenchError(Exception):
    """A failure to tell the user about.

    ``str(error)`` is the whole message: what was wrong and what to do, in one or two lines.
    """

    exit_code = 1


class UsageError(FaultbenchError):
    """Unknown names, values out of range, combinations that do not exist."""

    exit_code = 2


class DataError(FaultbenchError):
    """A file that is torn, foreign, of another version, or lacks what was asked of it."""

    exit_code = 65


class OutputError(FaultbenchError):
    """A place that cannot be written."""

    exit_code = 74


class ResourceError(FaultbenchError):
    """No memory, no threads, no CPUs, no rights."""

    exit_code = 71
