"""``faultbench sweep``: plan, run, table, plot."""

from typing import Annotated, Any

import typer

Text = str | None


def _option(help: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, show_default=False)


def sweep(
    machine: Annotated[
        Text,
        _option("threads, virtual[:NAME|FILE] or kernel. Default: threads.", metavar="MACHINE"),
    ] = None,
    path: Annotated[
        Text,
        _option(
            "mmap-lock, abort, retry, direct. Default: retry,direct; with --kernel its own.",
            metavar="LIST",
        ),
    ] = None,
    kernel: Annotated[
        Text,
        _option(
            "v6.3 v6.4 v6.5 next-202308 v6.6 v6.12 v6.13 v6.15 v6.16. Default: v6.6, with the "
            "paths above.",
            metavar="LIST",
        ),
    ] = None,
    set: Annotated[
        list[str] | None,
        _option(
            "One rule of the path; V|V sweeps it. prefetchw, map_pages, anon_late, iremapping, "
            "pat: on, off; vma_lock: separate, inline, aligned, refcount; seq: int, seqcount; "
            "mm_layout: split, same; rwsem: kernel, naive, pthread. Default: as the kernel.",
            metavar="KNOB=V",
        ),
    ] = None,
    handler: Annotated[
        Text,
        _option(
            "device-dax ext4 xfs driver driver-retry anon nop. Default: device-dax,ext4.",
            metavar="LIST",
        ),
    ] = None,
    order: Annotated[
        Text,
        _option("pmd (2 MiB), pud (1 GiB), pte (4 KiB). Default: pmd; anon pte.", metavar="LIST"),
    ] = None,
    access: Annotated[
        Text, _option("read, write, wp (read, then write). Default: write.", metavar="LIST")
    ] = None,
    map: Annotated[
        Text,
        _option(
            "shared (MAP_SHARED), private (MAP_PRIVATE). Default: shared; anon private.",
            metavar="LIST",
        ),
    ] = None,
    sync: Annotated[
        bool, _option("Map with MAP_SYNC: a write fault of ext4 or xfs commits metadata.", "--sync")
    ] = False,
    fallback: Annotated[
        Text,
        _option(
            "Share of 2 MiB ranges that fall back to 4 KiB: 0.25 or 25%. Default: 0.",
            metavar="LIST",
        ),
    ] = None,
    threads: Annotated[
        Text, _option("Workers: 1,2,4-16,max,2x. Default: 1,2,4,… to the CPUs.", metavar="LIST")
    ] = None,
    vmas: Annotated[
        Text,
        _option(
            "Mappings: private (one a worker), shared (one), or K in all. Default: private,shared.",
            metavar="LIST",
        ),
    ] = None,
    files: Annotated[Text, _option("Files, likewise. Default: shared.", metavar="LIST")] = None,
    mms: Annotated[
        Text, _option("Address spaces, likewise. Default: shared.", metavar="LIST")
    ] = None,
    overlap: Annotated[
        bool, _option("Workers of a shared mapping race for the same entries.", "--overlap")
    ] = False,
    writers: Annotated[
        Text, _option("Writers of mmap_lock: 0,1,2-8. Default: 0,1.", metavar="LIST")
    ] = None,
    writer_op: Annotated[
        Text,
        _option("What they do: beside, target, mprotect, fsync. Default: beside.", metavar="LIST"),
    ] = None,
    writer_rate: Annotated[
        Text, _option("Operations a second and writer: N or max. Default: max.", metavar="LIST")
    ] = None,
    mapping: Annotated[
        Text,
        _option(
            "Kernel machine: anon, anon-thp, memfd, memfd-huge, file:PATH, dax:PATH[,sync], "
            "device:PATH, arena. Default: anon,memfd.",
            metavar="LIST",
        ),
    ] = None,
    duration: Annotated[
        Text,
        _option(
            "Window of a trial: 250ms, 1.5s, 2m; a bare number is seconds. Default: 250ms; "
            "virtual 25ms with writers, else --faults.",
            metavar="TIME",
        ),
    ] = None,
    faults: Annotated[
        Text,
        _option(
            "Instead of --duration: faults of each worker. Default: virtual 1000.", metavar="N"
        ),
    ] = None,
    repeats: Annotated[Text, _option("Trials of each point. Default: 6.", metavar="N")] = None,
    warmup: Annotated[
        Text,
        _option(
            "Before the window: a time, 10%, or with --faults a count. Default: 10%, on threads "
            "at least 50ms.",
            metavar="TIME",
        ),
    ] = None,
    pin: Annotated[
        Text,
        _option(
            "CPUs for the tasks: core (a core each, then siblings), smt (siblings together), "
            "scatter (sockets in turn), none. Default: core.",
            metavar="HOW",
        ),
    ] = None,
    cost: Annotated[
        Text,
        _option(
            "Busy time of the steps that are not locks: default, none or a TOML FILE. Default: "
            "default.",
            metavar="NAME",
        ),
    ] = None,
    seed: Annotated[
        Text, _option("Of the order and of each trial. Default: 1.", metavar="N")
    ] = None,
    oversubscribe: Annotated[
        bool, _option("Allow over 16 times as many tasks as CPUs.", "--oversubscribe")
    ] = False,
    lines: Annotated[
        bool, _option("Virtual: print the hottest cache lines of each point.", "--lines")
    ] = False,
    trace: Annotated[
        Text, _option("Virtual: write the time line of one short trial.", metavar="FILE")
    ] = None,
    config: Annotated[
        Text, _option("Options from a TOML file; those typed win.", metavar="FILE")
    ] = None,
    output: Annotated[
        Text, _option("Results. Default: faultbench-DATE.jsonl.", "-o", "--output", metavar="FILE")
    ] = None,
    resume: Annotated[bool, _option("Go on with the sweep in the file of -o.", "--resume")] = False,
    retry_failed: Annotated[
        bool, _option("With --resume: run again what did not end ok.", "--retry-failed")
    ] = False,
    dry_run: Annotated[bool, _option("Show the plan and how long it takes.", "--dry-run")] = False,
    no_plot: Annotated[bool, _option("Draw nothing at the end.", "--no-plot")] = False,
) -> None:
    """Run a sweep of trials, print a table, draw the scalability plot.

    A LIST is a comma list; the sweep is the product of the lists, interleaved in ABBA blocks.
    """
    given: dict[str, str | None] = {
        "machine": machine,
        "path": path,
        "kernel": kernel,
        "set": ";".join(set) if set else None,
        "handler": handler,
        "order": order,
        "access": access,
        "map": map,
        "sync": "true" if sync else None,
        "fallback": fallback,
        "threads": threads,
        "vmas": vmas,
        "files": files,
        "mms": mms,
        "overlap": "true" if overlap else None,
        "writers": writers,
        "writer-op": writer_op,
        "writer-rate": writer_rate,
        "mapping": mapping,
        "duration": duration,
        "faults": faults,
        "repeats": repeats,
        "warmup": warmup,
        "pin": pin,
        "cost": cost,
        "seed": seed,
        "oversubscribe": "true" if oversubscribe else None,
    }
    from faultbench.cli import session

    session.run(
        {name: text for name, text in given.items() if text is not None},
        session.Run(
            config=config,
            output=output,
            resume=resume,
            retry_failed=retry_failed,
            dry_run=dry_run,
            plot=not no_plot,
            lines=lines,
            trace=trace,
        ),
    )
