"""A node with another secret, next to the cluster of compose.yml. Comes after one_cluster."""
import time

from checks import check, same, wait_for
from testing.one_cluster import declare, refusal
from testing.three_nodes import IDS, NODES
from testing.workplace import IMAGE, NAME, Failed, at_the_end, docker, logs

STRANGER = f"{NAME}-stranger"
TOLD = "the two nodes do not have the same secret: compare their cluster-secret-file"
TOLD_MAX_SECONDS = 20
# It stays out for so long at least: many times what joining takes.
STAYS_OUT_SECONDS = 3


def not_ready():
    """Why the stranger should get no clients; "" while it says that it should."""
    try:
        docker("exec", STRANGER, "leveretctl", "-q", "check_ready_to_serve_clients")
    except Failed as refused:
        return str(refused)
    return ""


@check
def a_wrong_secret_is_refused_and_told():
    at_the_end("docker", "rm", "-f", "-v", STRANGER)
    docker("run", "-d", "--name", STRANGER, "--hostname", "stranger", "--network", f"{NAME}_default",
           "-e", "LEVERET_CLUSTER_ADDR=0.0.0.0:25672", "-e", "LEVERET_CLUSTER_SECRET=not what the others know",
           "-e", f"LEVERET_JOIN={','.join(f'{name}:25672' for name in NODES)}", IMAGE)
    wait_for(lambda: TOLD in logs(STRANGER), TOLD_MAX_SECONDS)
    wait_for(lambda: any(TOLD in logs(IDS[name]) for name in NODES), TOLD_MAX_SECONDS)
    until = time.monotonic() + STAYS_OUT_SECONDS
    while time.monotonic() < until:
        same(not_ready() != "", True, "the stranger takes no clients")
    print(f"# it says: {not_ready()}", flush=True)
    declare("node1", "not for strangers")
    same(refusal("node2", "not for strangers"), "", "the cluster goes on")
    docker("stop", "-t", "10", STRANGER)
    said = [line for line in logs(STRANGER).splitlines() if TOLD in line]
    same(len(said) <= 20, True, f"it does not say so again and again: {len(said)} lines")
    same([line for line in logs(STRANGER).splitlines() if "panicked" in line], [], "panics")
