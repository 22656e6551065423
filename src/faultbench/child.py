"""The persistent child that runs trials: it imports one machine's extension and nothing else.

It reads one job a line on stdin and answers one line a job on stdout. It ignores SIGINT (the
parent decides), is in a process group of its own, dies with its parent, and on SIGUSR1 writes all
stacks to stderr, which the parent shows when it has to kill it.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import functools
import json
import os
import signal
import sys
from typing import Any

from faultbench.errors import FaultbenchError
from faultbench.machines import Job, get_machine

PR_SET_PDEATHSIG = 1


_machine = functools.cache(get_machine)


def run_job(line: bytes) -> dict[str, Any]:
    """Run one trial; returns ``{"result": …}`` or ``{"failed": how, "message": …}``."""
    raw = json.loads(line)
    try:
        job = Job.from_dict(raw["job"])
        return {"result": _machine(raw["machine"]).run(job)}
    except FaultbenchError as error:
        return {"failed": type(error).__name__, "message": str(error)}
    except MemoryError as error:
        return {"failed": "oom", "message": str(error) or "no memory for the trial's arena"}
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return {"failed": "oom", "message": str(error.strerror)}
        if error.errno == errno.EAGAIN:  # pthread_create, under RLIMIT_AS as under RLIMIT_NPROC
            return {
                "failed": "ResourceError",
                "message": f"cannot start {job.spec.tasks} threads: {error.strerror}; "
                "raise ulimit -u or -v, or use fewer",
            }
        return {"failed": "crashed", "message": f"{type(error).__name__}: {error}"}
    except Exception as error:  # whatever it is, the parent records it
        return {"failed": "crashed", "message": f"{type(error).__name__}: {error}"}


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def main() -> None:
    """Serve jobs until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(int(sys.argv[1]))
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    # Whatever prints to stdout must not mix with the answers.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with requests, answers:
        for line in requests:
            answer = json.dumps(run_job(line), separators=(",", ":"))
            answers.write(answer.encode() + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
