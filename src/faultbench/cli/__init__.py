"""Command line: one module a command; the only code that knows typer and rich."""
