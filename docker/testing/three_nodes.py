"""Three nodes and HAProxy, as compose.yml and compose.haproxy.yml start them: who gets clients, and who does not."""
import csv
import io
import subprocess
import time
import urllib.request

from checks import check, same, wait_for
from testing import client
from testing.image import stand_in_for_haproxy
from testing.workplace import ADDRESS, at_the_end, compose, compose_command, docker, health, logs

NODES = ("node1", "node2", "node3")
AMQP = {"node1": 5672, "node2": 5673, "node3": 5674}
HTTP = {"node1": 15672, "node2": 15673, "node3": 15674}
PROXY_AMQP, PROXY_HTTP, PROXY_STATS = 5670, 15670, 8404
HEALTHY_MAX_SECONDS = 60
# HAProxy asks every two seconds and believes the third bad answer.
PROXY_MAX_SECONDS = 20
IDS = {}


def proxied_nodes():
    """The nodes that answer behind HAProxy, in six tries; none while it sends somebody to a node that is gone."""
    try:
        return {client.api(ADDRESS, PROXY_HTTP, "overview")["node"] for _ in range(6)}
    except OSError:
        return set()


def offered():
    """The nodes to which HAProxy sends AMQP clients, by its own page."""
    with urllib.request.urlopen(f"http://{ADDRESS}:{PROXY_STATS}/;csv", timeout=5) as page:
        rows = list(csv.DictReader(io.TextIOWrapper(page, encoding="utf-8")))
    servers = [row for row in rows if row["# pxname"] == "amqp" and row["svname"] in NODES]
    return {row["svname"] for row in servers if row["status"].startswith("UP")}


def named(*names):
    return {f"leveret@{name}" for name in names}


@check
def three_nodes_and_haproxy_start():
    stand_in_for_haproxy()
    at_the_end(*compose_command(), "down", "-v", "-t", "10")
    began = time.monotonic()
    compose("up", "-d")
    IDS.update({name: compose("ps", "-q", name) for name in (*NODES, "haproxy")})
    for name in NODES:
        wait_for(lambda name=name: health(IDS[name]) == "healthy", HEALTHY_MAX_SECONDS)
    print(f"# three nodes healthy after {time.monotonic() - began:.1f} s", flush=True)


@check
def the_nodes_user_can_read_the_secret():
    # The image has no command that shows a file; a node that is given it as its settings says what is wrong.
    words = ["docker", "exec", IDS["node1"], "leveret", "--config", "/run/secrets/cluster"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False).stderr
    same(("configuration file /run/secrets/cluster" in said, "cannot be read" in said), (True, False), said)


@check
def nodes_find_each_other_by_name():
    for name in NODES:
        for other in NODES:
            docker("exec", IDS[name], "leveretctl", "-q", "--url", f"http://guest:guest@{other}:15672", "ping")


@check
def each_node_takes_clients():
    for name in NODES:
        with client.channel(ADDRESS, AMQP[name]) as opened:
            opened.queue_declare(f"of {name}", durable=True)
            client.publish(opened, f"of {name}", ["a", "b"])
        same(client.api(ADDRESS, HTTP[name], "overview")["node"], f"leveret@{name}")


@check
def haproxy_gives_each_node_its_turn():
    wait_for(lambda: offered() == set(NODES), PROXY_MAX_SECONDS)
    wait_for(lambda: proxied_nodes() == named(*NODES), PROXY_MAX_SECONDS)
    for _ in NODES:
        with client.channel(ADDRESS, PROXY_AMQP) as opened:
            opened.queue_declare("", exclusive=True)


@check
def a_killed_node_gets_no_clients():
    docker("kill", IDS["node2"])
    wait_for(lambda: offered() == {"node1", "node3"}, PROXY_MAX_SECONDS)
    wait_for(lambda: proxied_nodes() == named("node1", "node3"), PROXY_MAX_SECONDS)
    for number in range(6):
        with client.channel(ADDRESS, PROXY_AMQP) as opened:
            queue = opened.queue_declare("", exclusive=True).method.queue
            client.publish(opened, queue, [str(number)])


@check
def a_node_comes_back_with_its_messages():
    docker("start", IDS["node2"])
    wait_for(lambda: health(IDS["node2"]) == "healthy", HEALTHY_MAX_SECONDS)
    with client.channel(ADDRESS, AMQP["node2"]) as opened:
        same(client.take(opened, "of node2"), ["a", "b"], "messages")
    wait_for(lambda: proxied_nodes() == named(*NODES), PROXY_MAX_SECONDS)


@check
def nothing_panicked():
    for name in NODES:
        same([line for line in logs(IDS[name]).splitlines() if "panicked" in line], [], name)
