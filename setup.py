"""Builds the extensions: one per machine, all from the same sources in ``src/_core``.

The same ``.pyx`` in two Extensions crashes cythonize, so each machine has its own thin ``.pyx``;
what differs between them is one macro that picks the machine header behind ``sync/atomic.h``.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("src/_core")
# Real faults: one loop, compiled into faultbench._kernel and, from package data, for the guest.
GUEST = Path("src/faultbench/lab/guest")
DEPENDS = sorted(
    str(p)
    for root in (CORE, GUEST)
    for ext in ("*.h", "*.pxd", "*.pxi", "*.c")
    for p in root.rglob(ext)
)

# The virtual machine's parts behind machine/virtual.h.
SIMULATOR = ("virtual", "sched", "coherence", "stores", "distance", "access", "simlog", "fibers")

# name -> (macros, extra C sources)
EXTENSIONS: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "threads": ([("FB_MACHINE_THREADS", "1")], []),
    "checked": ([("FB_MACHINE_THREADS", "1"), ("FB_CHECKED", "1")], []),
    "single": ([("FB_MACHINE_SINGLE", "1"), ("FB_CHECKED", "1")], []),
    "virtual": (
        [("FB_MACHINE_VIRTUAL", "1")],
        [str(CORE / "machine" / f"{name}.c") for name in SIMULATOR],
    ),
    "calibrate": ([("FB_MACHINE_THREADS", "1")], []),
    "kernel": ([], []),
}

# The simulator's loop over events gains a few per cent; on threads what is timed stays as it is.
OPTIMIZE = {"virtual": ["-O3"]}
CFLAGS = ["-std=gnu11", "-O2", "-g1", "-fno-strict-aliasing", "-Wno-unused-function", "-pthread"]


def extension(name: str) -> Extension:
    """Return the extension ``faultbench._<name>`` built from ``src/_core/<name>.pyx``."""
    macros, sources = EXTENSIONS[name]
    return Extension(
        f"faultbench._{name}",
        [str(CORE / f"{name}.pyx"), *sources],
        include_dirs=[str(CORE), str(GUEST)],
        depends=DEPENDS,
        define_macros=[*macros, ("_GNU_SOURCE", "1")],
        extra_compile_args=[*CFLAGS, *OPTIMIZE.get(name, [])],
        extra_link_args=["-pthread"],
    )


setup(
    ext_modules=cythonize(
        [extension(name) for name in EXTENSIONS if (CORE / f"{name}.pyx").exists()],
        include_path=["src"],
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "autotestdict": False,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    )
)
