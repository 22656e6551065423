"""Command line: one module a command; the only code that knows typer and rich."""

import importlib
import os
import sys
from collections.abc import Callable

from faultbench.errors import FaultbenchError

# command -> (module, function). A module imports nothing heavy at its top: `--help` must stay fast.
COMMANDS: dict[str, tuple[str, str]] = {}


def build_app() -> Callable[[], None]:
    """Return the typer application with every command registered."""
    import typer

    app = typer.Typer(
        name="faultbench",
        help="What does sending a DAX page fault back for mmap_lock cost?",
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name, (module, function) in COMMANDS.items():
        app.command(name)(getattr(importlib.import_module(module), function))
    return app


def main() -> None:
    """Run one command; turn a user's mistake into one or two lines and an exit code."""
    try:
        build_app()()
        sys.stdout.flush()
    except FaultbenchError as error:
        print(f"faultbench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("faultbench: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (`| head`): not our error, but stdout can say no more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
