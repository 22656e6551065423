"""A process that has loaded numpy, pandas and scipy, and forks those that would load them again.

Loading them is half of what a short command does. Nothing of faultbench is loaded before the fork:
each command still loads all that it needs of it. What depends on how an interpreter starts (locale,
PYTHONPATH, signals, standard streams) needs a process of its own.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIBRARIES = "numpy pandas scipy.stats".split()
MOST = 1 << 20  # bytes of a request: arguments and an environment


def serve(fd: int) -> None:
    """Run what is asked for until nobody asks; returns in each fork, which ends as main() does."""
    for name in LIBRARIES:
        importlib.import_module(name)
    assert "faultbench" not in sys.modules
    gc.freeze()  # no fork looks through these
    with socket.socket(fileno=fd) as asked:
        while True:
            request, fds, _, _ = socket.recv_fds(asked, MOST, 2)
            if not request:
                return
            child = os.fork()
            if not child:
                break
            for each in fds:
                os.close(each)
            _, status = os.waitpid(child, 0)
            asked.send(str(os.waitstatus_to_exitcode(status)).encode())
    wanted = json.loads(request)
    for number, each in enumerate(fds, 1):
        os.dup2(each, number)
        os.close(each)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv = ["", *wanted["arguments"]]
    runpy.run_module(wanted["module"], run_name="__main__", alter_sys=True)


@functools.cache
def server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process, if there is none; `stop` it before a test looks for children left."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = f"from tests.warm import serve; serve({theirs.fileno()})"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    theirs.close()
    ours.settimeout(120)
    return process, ours


def stop() -> None:
    """End the process."""
    if server.cache_info().currsize:
        process, ours = server()
        ours.close()
        process.wait(20)
        server.cache_clear()


def run(
    module: str, arguments: Sequence[str], cwd: os.PathLike[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Return what ``python -m module arguments`` says and how it ends.

    Only for commands that need the libraries: others end sooner without them.
    """
    _, asked = server()
    request: dict[str, Any] = {"module": module, "arguments": arguments, "env": env}
    request["cwd"] = os.fspath(cwd)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        socket.send_fds(asked, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
        try:
            code = int(asked.recv(16))
        except TimeoutError:
            server()[0].kill()  # its answer would be the next command's
            stop()
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read())
    return subprocess.CompletedProcess([module, *arguments], code, *said)
