"""A docker engine of our own, inside the namespaces that docker/test made for it.

Invariant: everything it writes is below one directory, and stop() leaves none of its processes.
"""
import os
import signal
import subprocess
import time

# What dockerd is tried with, the plainest first. On CI's machines the first works: root, overlay2 on ext4, the
# kernel's own nftables behind Debian's iptables, version 1 control groups below /sys/fs/cgroup.
ATTEMPTS = (
    [],
    # Without tables for address translation in the kernel. Published ports go through docker-proxy then, which
    # is enough for clients on this machine.
    ["--iptables=false", "--ip6tables=false"],
    # In a container whose own file system is an overlay: those cannot be stacked. Slow, it copies each layer.
    ["--iptables=false", "--ip6tables=false", "--storage-driver=vfs"],
)
START_MAX_SECONDS = 20
STOP_MAX_SECONDS = 20


class Unusable(Exception):
    """No engine can run here, and why."""


def start(work):
    """dockerd's process, when it answers; DOCKER_HOST leads there from now on."""
    # A new network namespace has a loopback that is down.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    socket = f"unix://{work}/docker.sock"
    os.environ["DOCKER_HOST"] = socket
    # The images here are simple, and Debian's engine comes without the plugin that BuildKit needs.
    os.environ["DOCKER_BUILDKIT"] = "0"
    last = ""
    for number, options in enumerate(ATTEMPTS):
        log = os.path.join(work, f"dockerd-{number}.log")
        place = os.path.join(work, f"engine-{number}")
        words = ["dockerd", "-H", socket, "--data-root", f"{place}/data", "--exec-root", f"{place}/run",
                 "--pidfile", f"{place}.pid", *options]
        with open(log, "w", encoding="utf-8") as output:
            # In a session of its own: a signal for the test must not stop it before its containers are removed.
            daemon = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                      start_new_session=True)
        if answers(daemon):
            print(f"dockerd {' '.join(options) or 'with its defaults'}", flush=True)
            return daemon
        stop(daemon)
        with open(log, encoding="utf-8", errors="replace") as text:
            last = text.read().strip().splitlines()[-1:]
    raise Unusable(f"dockerd does not start: {''.join(last)}")


def answers(daemon):
    """Whether it is there in time; False as soon as it has ended."""
    until = time.monotonic() + START_MAX_SECONDS
    while time.monotonic() < until and daemon.poll() is None:
        if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0:
            return True
        time.sleep(0.1)
    return False


def stop(daemon):
    """Ends it, and with it the containerd that it started."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(STOP_MAX_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
