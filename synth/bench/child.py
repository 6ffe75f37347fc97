"""One measurement in a process of its own, which says what it finds in lines of JSON: its memory is then its own."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synth.errors import ToolError, ToolTimeout


def run_child(module: str, request: Mapping[str, Any], *, tool: str, what: str, mend: str, timeout: float,
              message: Callable[[dict[str, Any]], None]) -> None:
    """Run ``python -m module REQUEST``, with the request as JSON, to its end.

    Parameters
    ----------
    tool, what : str
        Who runs it and what for, for the messages of errors.
    mend : str
        What helps where it takes too long.
    timeout : float, seconds
        Limit for the process.
    message : callable
        Told each line of its standard output as it comes; what it raises ends the child.

    Raises
    ------
    ToolError, ToolTimeout
        If the child fails, or takes longer than it may.
    """
    root = Path(__file__).parent.parent.parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        child = subprocess.Popen([sys.executable, "-m", module, json.dumps(request)], text=True,
                                 env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=log)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            child.kill()

        alarm = threading.Timer(timeout, expire)
        alarm.start()
        assert child.stdout is not None
        try:
            for line in child.stdout:
                message(json.loads(line))
            code = child.wait()
        finally:
            alarm.cancel()
            child.kill()
            child.wait()
            child.stdout.close()
        log.seek(0)
        last = (log.read().strip().splitlines() or ["nothing"])[-1]
    if expired.is_set():
        raise ToolTimeout(tool, f"Child of the bench must end within {timeout:g} s, not run on, for {what}; --timeout "
                                f"sets another limit, and {mend}")
    if code:
        raise ToolError(tool, f"Child of the bench must end well, not with {code}, for {what}; its last words: {last}")
