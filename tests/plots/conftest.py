"""What tests of figures share."""

import pytest

from faultbench.plots import style


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is saved, kept for inspection."""
    figures = []
    real = style.save

    def save(made, stem, formats=("png", "svg")):
        figures.append(made)
        return real(made, stem, formats)

    monkeypatch.setattr(style, "save", save)
    return figures
