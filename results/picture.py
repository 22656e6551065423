"""Draw the README's picture: python results/picture.py, after results/virtual.sh."""

from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D

from faultbench import records, table
from faultbench.plots import style

HERE = Path(__file__).parent
TARGET = HERE.parent / "docs/img/readme"
PANELS = [(h, v) for h in ("device-dax", "ext4") for v in ("private", "shared")]
ROWS = {"virtual-quiet": "no writer", "virtual-writer": "one thread maps and unmaps beside"}
NAMES = {
    "next-202308": "retry: linux-next Jul-Aug 2023, never released",
    "v6.6": "direct: 6.6",
    "v6.16": "direct: 6.16, no prefetchw, refcounted VMA lock (no kernel confirms it)",
}
LOOKS = {"next-202308": "retry", "v6.6": "direct", "v6.16": "v6.16"}
COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256]


def main() -> None:
    """One panel for each handler, sharing and writer; every line is the median of its repeats."""
    handles = [
        Line2D(
            [], [], color=look.colour, linestyle=look.style, marker=look.marker, label=NAMES[kernel]
        )
        for kernel, look in looks().items()
    ]
    with style.styled():
        made = style.figure(12.4, 6.6)
        axes = made.subplots(len(ROWS), len(PANELS), squeeze=False)
        for row, (file, load) in zip(axes, ROWS.items(), strict=True):
            df = table.frame(records.read(str(HERE / f"{file}.jsonl")).trials)
            if (df["status"] != "ok").any():
                raise SystemExit(f"{file}: a trial without a rate")
            for ax, (handler, sharing) in zip(row, PANELS, strict=True):
                panel(ax, df[df["handler"] == handler], sharing, load)
        for ax in axes[:, 0]:
            ax.set_ylabel("faults/s")
        for ax in axes[0]:
            ax.set_xlabel("")
        style.caption(
            made,
            "2 MiB DAX page faults over CPUs: sent back, or served at once (SIMULATED)",
            [
                "Model of a generic 1024-CPU machine, 14 of 14 latencies estimated; write faults, "
                "MAP_SHARED, one file, default costs. Both axes logarithmic.",
                style.CLAIMS_NOT,
            ],
            handles,
        )
        for path in style.save(made, TARGET, ("svg",)):
            print(path)


def looks() -> "dict[str, style.Line]":
    """How each kernel is drawn."""
    return {kernel: style.line_of(name, 2) for kernel, name in LOOKS.items()}


def panel(ax, df: pd.DataFrame, sharing: str, load: str) -> None:  # noqa: ANN001
    """Rates over workers; one worker alone is the same trial for private and shared mappings."""
    chosen = df[df["vmas"].isin([sharing, "-"])]
    for kernel, look in looks().items():
        line = chosen[chosen["kernel"] == kernel].groupby("threads")["faults_per_s"].median()
        ax.plot(
            line.index,
            line,
            color=look.colour,
            linestyle=look.style,
            marker=look.marker,
            markersize=5,
        )
    ax.set_yscale("log")
    ax.set_ylim(1e5, 1e9)
    style.worker_axis(ax, COUNTS)
    style.simulated(ax)
    mappings = "a mapping each" if sharing == "private" else "one mapping"
    ax.set_title(f"{chosen['handler'].iloc[0]}, {mappings}\n{load}")


if __name__ == "__main__":
    main()
