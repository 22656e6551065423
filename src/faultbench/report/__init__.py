"""One page to send: what was measured, whether the difference is real, where it comes from."""
