"""What holds for every test."""

import signal


def pytest_configure() -> None:
    """Hear Ctrl-C though whoever started the tests did it in the background of a script.

    A shell without job control has such children ignore SIGINT, and theirs inherit that: tests of
    interrupts would wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
