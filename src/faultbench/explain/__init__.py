"""One fault, step by step, from the model's own record of it: what `faultbench explain` shows."""
