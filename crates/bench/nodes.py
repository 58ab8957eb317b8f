"""Three nodes of Leveret for scripts that measure clusters.

Invariant: who starts nodes ends them, see `Leveret.end`.
"""

import base64
import json
import os
import subprocess
import time
import urllib.request

NET = "127.83.10."


def wait_for(what, holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds} s in vain: {what}")
        time.sleep(0.1)


class Leveret:
    """Three nodes that are one cluster."""

    def __init__(self, program, work):
        secret = work / "secret"
        secret.write_bytes(base64.b64encode(os.urandom(32)))
        secret.chmod(0o600)
        hosts = [f"{NET}{n}" for n in (1, 2, 3)]
        self.processes, self.logs = [], []
        for n, host in enumerate(hosts, 1):
            log = work / f"leveret{n}.log"
            self.logs.append(log)
            self.processes.append(subprocess.Popen(
                [program, "--node-name", f"n{n}", "--data-dir", work / f"leveret{n}",
                 "--amqp-addr", f"{host}:5672", "--http-addr", f"{host}:15672",
                 "--cluster-addr", f"{host}:25672", "--cluster-secret-file", secret,
                 "--join", ",".join(f"{other}:25672" for other in hosts)],
                stderr=log.open("w"), stdin=subprocess.DEVNULL))
        self.host = hosts[0]
        wait_for("three nodes of Leveret", lambda: all(" started: " in log.read_text() for log in self.logs))

    def http(self, method, path, body=None):
        """Asks the first node's API; gives what it answers, parsed."""
        request = urllib.request.Request(
            f"http://{self.host}:15672/api/{path}", json.dumps(body).encode() if body is not None else None,
            method=method, headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                                    "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def mirror_all(self, pattern="^"):
        """Every queue whose name matches gets mirrors on all nodes."""
        policy = {"pattern": pattern, "definition": {"ha-mode": "all"}, "apply-to": "queues"}
        self.http("PUT", "policies/%2F/ha-all", policy)

    def pids(self):
        return [process.pid for process in self.processes]

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)
