"""Published measurements beside the virtual machine: ``python -m faultbench.validation``.

One machine description and one cost profile for all cases; nothing is fitted to a table.
"""
