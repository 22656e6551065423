"""``python -m faultbench``."""

from faultbench.cli import main

main()
