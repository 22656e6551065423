"""One fault explained, from the model's own record of it."""

# As every simulated plot says it (a test compares); `plots.style` takes a second to load.
CLAIMS_NOT = (
    "It must not claim: absolute faults/s, a sign below about 10 %, SMT, bandwidth, page "
    "placement, frequency, more threads than CPUs."
)
