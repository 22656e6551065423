"""The guest's physical memory: DAX regions, reserved memory for 1 GiB entries, the rest."""

# Two regions with a gap: adjacent ones would be one.
PMEM = ("448M!1G", "448M!1536M")
PUD_PHYS = 0x100000000
MEMORY = "3G"


def kernel_arguments() -> str:
    """Return the memmap= arguments."""
    regions = (*PMEM, f"1G${PUD_PHYS:#x}")
    return " ".join(f"memmap={region}" for region in regions)
