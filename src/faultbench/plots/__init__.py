"""Package plots."""
