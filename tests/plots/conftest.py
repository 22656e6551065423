"""What tests of figures share."""

import pytest

from faultbench.plots import sheet


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is saved, kept for inspection."""
    figures = []
    real = sheet.save

    def save(made, stem, formats=("png", "svg")):
        figures.append(made)
        return real(made, stem, formats)

    monkeypatch.setattr(sheet, "save", save)
    return figures
