"""What holds for every test."""

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests import warm

# How long examples take to draw is the machine's load, not the test's fault.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure() -> None:
    """Hear Ctrl-C though whoever started the tests did it in the background of a script.

    A shell without job control has such children ignore SIGINT, and theirs inherit that: tests of
    interrupts would wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def nothing_warm_is_left():
    """End the process that `warm.run` started, if it did: other tests look for children left."""
    yield
    warm.stop()
