"""Package lab."""
