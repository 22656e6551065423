"""The parent's end of the child that runs trials: start, wait, watchdog, how it died."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from faultbench import errors
from faultbench.host import oom_kills
from faultbench.machines import Job

STACKS_S = 0.3  # for the child to write its stacks
TERM_S = 0.3


class Executor(Protocol):
    """Runs one job at a time somewhere else."""

    @property
    def pid(self) -> int:
        """The process that runs jobs, 0 when there is none."""
        ...

    def start(self, machine: str, job: Job, limit_s: float) -> None:
        """Begin a job; `poll` ends it, at the latest after `limit_s`."""
        ...

    def fileno(self) -> int:
        """Return a descriptor that is readable when `poll` has news."""
        ...

    def poll(self) -> dict[str, Any] | None:
        """Return the answer once there is one: ``{"result": …}`` or ``{"failed": …}``."""
        ...

    def overdue_in(self) -> float:
        """Seconds until `poll` would call the job hung."""
        ...

    def close(self) -> None:
        """End it, whatever it is doing."""
        ...


def command() -> list[str]:
    """Return how a child is started; -P keeps the current folder out of its imports."""
    return [sys.executable, "-P", "-m", "faultbench.child", str(os.getpid())]


class ChildExecutor:
    """A child process, replaced when it crashed, hung or was killed."""

    def __init__(
        self, argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._argv = list(argv or command())
        package = str(Path(__file__).parent.parent)
        inherited = os.environ.get("PYTHONPATH")
        search = package if not inherited else f"{package}{os.pathsep}{inherited}"
        self._env = {**os.environ, "PYTHONPATH": search, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: Any = None
        self._answer = bytearray()
        self._deadline = 0.0
        self._oom_kills = 0

    @property
    def pid(self) -> int:
        """The child's pid, 0 when there is none."""
        return self._process.pid if self._process else 0

    def start(self, machine: str, job: Job, limit_s: float) -> None:
        """Send a job, starting a child if there is none."""
        if self._process is None:
            self._spawn()
        assert self._process is not None
        assert self._process.stdin is not None
        self._answer = bytearray()
        self._oom_kills = oom_kills()
        self._deadline = time.monotonic() + limit_s
        line = json.dumps({"machine": machine, "job": job.to_dict()}, allow_nan=False)
        with contextlib.suppress(BrokenPipeError):  # it died; poll finds out how
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _spawn(self) -> None:
        self._stderr = os.fdopen(os.memfd_create("faultbench-stderr"), "w+b")  # no /tmp needed
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=self._env,
                process_group=0,  # Ctrl-C is the parent's
            )
        except OSError as error:
            self._stderr.close()
            raise errors.ResourceError(f"cannot start a child process: {error.strerror}") from None

    def fileno(self) -> int:
        """Return the pipe the answer comes through."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def overdue_in(self) -> float:
        """Seconds until the watchdog acts."""
        return self._deadline - time.monotonic()

    def poll(self) -> dict[str, Any] | None:
        """Read what has come; judge a child that died or is overdue."""
        while select.select([self], [], [], 0)[0]:
            if chunk := os.read(self.fileno(), 1 << 20):
                self._answer += chunk
                if self._answer.endswith(b"\n"):
                    answer: dict[str, Any] = json.loads(self._answer)
                    return answer
            else:
                return self._died()
        if self.overdue_in() <= 0:
            return self._hung()
        return None

    def _died(self) -> dict[str, Any]:
        assert self._process is not None
        code = self._process.wait()
        said = self._said()
        by_oom = oom_kills() > self._oom_kills
        self.close()
        if code == -signal.SIGKILL:
            if by_oom:
                return {"failed": "oom", "message": "child killed by the OOM killer"}
            return {"failed": "killed", "message": "child killed by SIGKILL"}
        if code == -signal.SIGTERM:
            return {"failed": "killed", "message": "child killed by SIGTERM"}
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return {"failed": "crashed", "message": f"child died: {reason}{said and ': ' + said}"}

    def _hung(self) -> dict[str, Any]:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(STACKS_S)
        said = self._said()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TERM_S)
        self.close()
        return {"failed": "timeout", "message": f"no answer in time{said and '; stacks: ' + said}"}

    def _said(self) -> str:
        """Return the end of the child's stderr, on one line."""
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - 2000))
        text = self._stderr.read().decode(errors="replace")
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())[-1000:]

    def close(self) -> None:
        """Kill the child and reap it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._stderr.close()
