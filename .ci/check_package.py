"""The sdist builds, the wheel builds from it, holds one top level, and has what it needs."""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NEEDED = ("faultbench/py.typed", "faultbench/costs/default.toml", "faultbench/_threads.pyi")


def main() -> None:
    """Build both into a temporary folder and look inside."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, "-m", "build", "--outdir", out, "."], check=True)
        (wheel,) = Path(out).glob("*.whl")
        (sdist,) = Path(out).glob("*.tar.gz")
        names = zipfile.ZipFile(wheel).namelist()
        with tarfile.open(sdist) as archive:
            sources = archive.getnames()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name.split("/")[0]}
    problems = [f"wheel has top levels {sorted(tops)}"] if tops != {"faultbench"} else []
    problems += [f"wheel lacks {name}" for name in NEEDED if name not in names]
    if not any(name.endswith("src/_core/sync/atomic.h") for name in sources):
        problems.append("sdist lacks the headers")
    if problems:
        sys.exit("\n".join(problems))
    print(f"{wheel.name}: {len(names)} files, one top level")


if __name__ == "__main__":
    main()
