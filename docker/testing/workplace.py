"""Where the checks work: docker's commands, names that are ours alone, and what has to go in the end.

Invariant: close() removes each container, network, volume and image that was made here, by its own name.
"""
import os
import secrets
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Of this machine, but not 127.0.0.1, so that nobody's broker or cluster is in the way.
ADDRESS = "127.0.0.77"
NAME = f"leveret-test-{os.getpid()}-{secrets.token_hex(3)}"
IMAGE = f"{NAME}:latest"
PROXY_IMAGE = f"{NAME}-haproxy:latest"
# work: a directory of ours; binaries: where the static binaries are.
PATHS = {}

_closing = []


class Failed(Exception):
    """A command did not do what it was asked for."""


def run(words, seconds=60, **options):
    """A command's output, when it succeeds."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False, **options)
    if done.returncode:
        said = f"{done.stdout.strip()} {done.stderr.strip()}".strip()
        raise Failed(f"{' '.join(words)} ended with {done.returncode}: {said[-1000:]}")
    return done.stdout.strip()


def docker(*words, seconds=60):
    return run(["docker", *words], seconds)


def at_the_end(*words):
    """A command for close(); the last one is done first."""
    _closing.append(words)


def open_at(work, binaries):
    """Makes what all checks share; `work` is a directory that is removed in the end."""
    PATHS.update(work=work, binaries=binaries)
    secret = os.path.join(work, "cluster")
    with open(secret, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    os.environ.update(
        LEVERET_IMAGE=IMAGE, HAPROXY_IMAGE=PROXY_IMAGE, LEVERET_PUBLISH=ADDRESS, LEVERET_SECRET_FILE=secret
    )


def close():
    """Removes what was made; what is gone already, or never was, is no matter."""
    while _closing:
        words = _closing.pop()
        try:
            subprocess.run(words, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"not removed: {' '.join(words)}: {error}", flush=True)


def compose(*words, seconds=90):
    """The compose tool with both files."""
    return run([*compose_command(), *words], seconds)


def compose_command():
    """With both files of three_nodes."""
    return [*compose_tool(), "-p", NAME, "-f", f"{HERE}/compose.yml", "-f", f"{HERE}/compose.haproxy.yml"]


def compose_tool():
    """docker compose, or where that is not there docker-compose."""
    has_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    return ["docker", "compose"] if has_plugin else ["docker-compose"]


def health(container):
    """starting, healthy or unhealthy."""
    return docker("inspect", "--format", "{{.State.Health.Status}}", container)


def logs(container):
    """What a container wrote, on both outputs."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout + done.stderr
