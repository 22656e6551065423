"""Draw the README's picture: python results/picture.py, after results/virtual.sh."""

from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D

from faultbench import records, table
from faultbench.plots import sheet, style

HERE = Path(__file__).parent
TARGET = HERE.parent / "docs/img/readme"
PANELS = [(h, v) for h in ("device-dax", "ext4") for v in ("private", "shared")]
ROWS = {"virtual-quiet": "no writer", "virtual-writer": "one thread maps and unmaps beside"}
NAMES = {
    "next-202308": "retry: linux-next Jul-Aug 2023, never released",
    "v6.6": "direct: 6.6 without x86's PAT locks",
    "v6.6 pat=on": "direct: 6.6 on x86, with its global PAT locks",
    "v6.16": "direct: 6.16, no prefetchw, refcounted VMA lock (no kernel confirms it)",
}
LOOKS = {
    "next-202308": style.line_of("retry"),
    "v6.6": style.line_of("direct"),
    "v6.6 pat=on": style.Line("#b3375a", (0, (1, 1)), "v"),
    "v6.16": style.line_of("", 2),
}
COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256]


def main() -> None:
    """One panel for each handler, sharing and writer; every line is the median of its repeats."""
    handles = [
        Line2D(
            [], [], color=look.colour, linestyle=look.style, marker=look.marker, label=NAMES[kernel]
        )
        for kernel, look in LOOKS.items()
    ]
    with sheet.styled():
        made = sheet.figure(12.4, 6.6)
        axes = made.subplots(len(ROWS), len(PANELS), squeeze=False)
        for row, (file, load) in zip(axes, ROWS.items(), strict=True):
            df = read(file)
            for ax, (handler, sharing) in zip(row, PANELS, strict=True):
                panel(ax, df[df["handler"] == handler], sharing, load)
        for ax in axes[:, 0]:
            ax.set_ylabel("faults/s")
        for ax in axes[0]:
            ax.set_xlabel("")
        sheet.caption(
            made,
            "2 MiB DAX page faults over CPUs: sent back, or served at once (SIMULATED)",
            [
                "Model of a generic 1024-CPU machine, 14 of 14 latencies estimated; write faults, "
                "MAP_SHARED, one file, default costs. PAT locks only where named. Both axes "
                "logarithmic.",
                style.CLAIMS_NOT,
            ],
            handles,
        )
        for path in sheet.save(made, TARGET, ("svg",)):
            print(path)


def read(load: str) -> pd.DataFrame:
    """Both files of a load; `line` tells kernels with and without the PAT locks apart."""
    paths = [HERE / f"{load}.jsonl", HERE / f"{load}-pat.jsonl"]
    df = pd.concat([table.frame(records.read(str(path)).trials) for path in paths])
    if (df["status"] != "ok").any():
        raise SystemExit(f"{load}: a trial without a rate")
    return df.assign(line=(df["kernel"] + " " + df["set"].fillna("")).str.strip())


def panel(ax, df: pd.DataFrame, sharing: str, load: str) -> None:  # noqa: ANN001
    """Rates over workers; one worker alone is the same trial for private and shared mappings."""
    chosen = df[df["vmas"].isin([sharing, "-"])]
    for kernel, look in LOOKS.items():
        line = chosen[chosen["line"] == kernel].groupby("threads")["faults_per_s"].median()
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
