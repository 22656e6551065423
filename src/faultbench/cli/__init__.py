"""Command line: one module a command; the only code that knows typer and rich."""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any, NoReturn

from faultbench.errors import FaultbenchError, UsageError

# command -> (module, function, what it does in a line of the help). A module imports nothing heavy
# at its top: `--help` must stay fast.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "sweep": (
        "faultbench.cli.sweep",
        "sweep",
        "Run a sweep of trials; print a table and draw a plot",
    ),
    "plot": ("faultbench.cli.plot", "plot", "Draw the figures of a results file as PNG and SVG"),
    "report": (
        "faultbench.cli.report",
        "report",
        "Write one page to send: the answer and how sure it is",
    ),
    "compare": (
        "faultbench.cli.compare",
        "compare",
        "Say case by case whether B differs from A, and how much",
    ),
    "fit": (
        "faultbench.cli.fit",
        "fit",
        "Fit the Universal Scalability Law: where throughput peaks",
    ),
    "export": (
        "faultbench.cli.export",
        "export",
        "Export trials as CSV, tidy or as will-it-scale's",
    ),
    "import": (
        "faultbench.cli.import_",
        "import_",
        "Turn will-it-scale or PFT output into a results file",
    ),
    "explain": (
        "faultbench.cli.explain",
        "explain",
        "Explain one fault step by step, two ways side by side",
    ),
    "machines": (
        "faultbench.cli.machines",
        "machines",
        "List the machines that --machine virtual simulates",
    ),
    "calibrate": (
        "faultbench.cli.calibrate",
        "calibrate",
        "Measure this machine; write a machine file of it",
    ),
    "audit": (
        "faultbench.cli.audit",
        "audit",
        "Say which mappings here still fault under mmap_lock",
    ),
    "lab": ("faultbench.cli.lab", "lab", "Check the model against real kernels under QEMU"),
    "info": ("faultbench.cli.info", "info", "Show this machine and what may disturb a measurement"),
}

EPILOG = "Begin with: faultbench sweep. Every other command reads the results it writes."


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; what goes wrong is raised."""
    import typer

    # A command that is named is all that is loaded; the others are their lines of the help.
    at, named = next(((i, a) for i, a in enumerate(arguments) if a in COMMANDS), (0, None))
    app = typer.Typer(
        name="faultbench",
        help="What does sending a DAX page fault back for mmap_lock cost?",
        epilog=EPILOG,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def root(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.")
        ] = False,
    ) -> None:
        if version:
            from faultbench import __version__

            print(f"faultbench {__version__}")
            raise typer.Exit

    for name, (module, function, summary) in COMMANDS.items():
        if name == named:
            call = _guarded(getattr(importlib.import_module(module), function))
        else:
            call = _not_loaded
        app.command(name, short_help=summary)(call)
    command = typer.main.get_command(app)
    for name, one in getattr(command, "commands", {}).items():
        _say_what_is_wanted(one.params)
        if name == named:
            _refuse_twice(one.params, arguments[at + 1 :])
    try:
        code = command.main(arguments or ["--help"], prog_name="faultbench", standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else 0


def _not_loaded() -> NoReturn:
    raise AssertionError("a command that no argument names was called")


def _say_what_is_wanted(params: list[Any]) -> None:
    """Give options one kind of placeholder: FILE, N, A|B, TEXT; typer has one for each type."""
    for param in params:
        if param.metavar is not None or getattr(param, "is_flag", False):
            continue
        choices = getattr(param.type, "choices", None)
        kind = getattr(param.type, "name", "")
        if choices:
            param.metavar = "|".join(str(getattr(c, "value", c)) for c in choices)
        else:
            param.metavar = {"path": "FILE", "int": "N", "integer": "N"}.get(kind, "TEXT")


def _refuse_twice(params: list[Any], arguments: list[str]) -> None:
    """Refuse an option with a value that is given twice; the parser would take the last."""
    words = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    for param in params:
        if getattr(param, "is_flag", True) or param.multiple:
            continue  # a flag, an argument, an option that may be repeated
        if sum(words.count(name) for name in param.opts) > 1:
            more = "; a LIST has commas" if param.metavar == "LIST" else ""
            raise UsageError(f"{param.opts[-1]}: given twice{more}")


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, SIGHUP: end a command as Ctrl-C does, with an exit code of their own."""


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was told to stop."""
    return int(error.args[0]) if isinstance(error, TerminatedError) else 130


class _StoppedError(Exception):
    """A command was told to stop; its code. The parser makes 130 of every KeyboardInterrupt."""


class _ClosedPipeError(Exception):
    """The reader of our output went away; not an OSError, which the parser would judge itself."""


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (_ClosedPipeError, BrokenPipeError):
            raise _ClosedPipeError from None
        except KeyboardInterrupt as error:
            raise _StoppedError(exit_code(error)) from None

    return call


def main() -> NoReturn:
    """Run one command; turn a user's mistake into one or two lines and an exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _terminated)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): nobody listens, and that is no error
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    # A locale without × shows \xd7; surrogateescape is what Python takes in the C locale.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except FaultbenchError as error:
        code = _fail(str(error), error.exit_code)
    except _StoppedError as stopped:
        code = _fail("interrupted", stopped.args[0])
    except KeyboardInterrupt as error:
        code = _fail("interrupted", exit_code(error))
    except (_ClosedPipeError, BrokenPipeError):
        # The reader went away (`| head`): not our error, but stdout can say no more.
        code = 141
    except MemoryError:
        code = _fail("out of memory", 71)
    except OSError as error:
        code = _fail(f"{error.filename or 'output'}: {(error.strerror or str(error)).lower()}", 74)
    except Exception as error:
        # The parser's own errors, whichever click it is built on.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().replace("\n", " ").rstrip(".")
        command = sys.argv[1] if sys.argv[1:2] and sys.argv[1] in COMMANDS else ""
        hint = " ".join(("faultbench", command, "--help")).replace("  ", " ")
        code = _fail(f"{message[:1].lower()}{message[1:200]}; see `{hint}`", 2)
    _close_stdout()
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    try:
        from faultbench.cli._results import safe

        print(f"faultbench: {safe(message)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return code  # nobody listens
    return code


def _close_stdout() -> None:
    """Leave nothing for the interpreter to flush into a stdout that takes no more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise TerminatedError(128 + signum)
