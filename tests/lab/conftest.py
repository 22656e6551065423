"""Tests that boot QEMU run when asked for (-m lab), so that plain pytest needs no emulator."""


def pytest_collection_modifyitems(config, items):
    if "lab" in (config.getoption("-m") or ""):
        return
    boots = [item for item in items if item.get_closest_marker("lab")]
    if boots:
        config.hook.pytest_deselected(items=boots)
        items[:] = [item for item in items if item not in boots]
