"""Three nodes and HAProxy, as compose.yml and compose.haproxy.yml start them."""
import os
import time

from checks import check, same, wait_for
from testing import client
from testing.image import stand_in_for_haproxy
from testing.workplace import ADDRESS, IMAGE, at_the_end, compose, compose_command, docker, health, logs

NODES = ("node1", "node2", "node3")
AMQP = {"node1": 5672, "node2": 5673, "node3": 5674}
HTTP = {"node1": 15672, "node2": 15673, "node3": 15674}
PROXY_AMQP, PROXY_HTTP, PROXY_STATS = 5670, 15670, 8404
HEALTHY_MAX_SECONDS = 60
# HAProxy asks every two seconds and believes the third bad answer.
PROXY_MAX_SECONDS = 20
IDS = {}


def is_clustered():
    """Whether this binary can be a member of a cluster; otherwise these are three nodes on their own."""
    return "--cluster-addr" in docker("run", "--rm", IMAGE, "--help")


def proxied_nodes():
    """The nodes that answer behind HAProxy, in six tries."""
    return {client.api(ADDRESS, PROXY_HTTP, "overview")["node"] for _ in range(6)}


def named(*names):
    return {f"leveret@{name}" for name in names}


@check
def three_nodes_and_haproxy_start():
    stand_in_for_haproxy()
    at_the_end(*compose_command(), "down", "-v", "-t", "10")
    began = time.monotonic()
    compose("up", "-d", "--no-build")
    IDS.update({name: compose("ps", "-q", name) for name in (*NODES, "haproxy")})
    for name in NODES:
        wait_for(lambda name=name: health(IDS[name]) == "healthy", HEALTHY_MAX_SECONDS)
    print(f"# three nodes healthy after {time.monotonic() - began:.1f} s", flush=True)


@check
def the_secret_is_a_file_that_the_node_can_read():
    size = os.path.getsize(os.environ["LEVERET_SECRET_FILE"])
    mounts = docker("inspect", "--format", "{{range .Mounts}}{{.Destination}} {{end}}", IDS["node1"]).split()
    same(("/run/secrets/cluster" in mounts, size), (True, 64), "the secret")


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
    wait_for(lambda: proxied_nodes() == named(*NODES), PROXY_MAX_SECONDS)
    for _ in NODES:
        with client.channel(ADDRESS, PROXY_AMQP) as opened:
            opened.queue_declare("", exclusive=True)


@check
def the_nodes_are_one_cluster():
    if not is_clustered():
        print("# this binary has no --cluster-addr: nothing to look at", flush=True)
        return
    for name in NODES:
        nodes = client.api(ADDRESS, HTTP[name], "nodes")
        same({node["name"] for node in nodes if node["running"]}, named(*NODES), f"running, says {name}")
    with client.channel(ADDRESS, AMQP["node1"]) as opened:
        opened.queue_declare("everywhere", durable=True, arguments={"x-queue-type": "quorum"})
        client.publish(opened, "everywhere", ["one", "two"])
    for name, wanted in (("node2", "one"), ("node3", "two")):
        with client.channel(ADDRESS, AMQP[name]) as opened:
            _, _, body = opened.basic_get("everywhere", auto_ack=True)
            same(body, wanted.encode(), f"taken at {name}")


@check
def a_killed_node_gets_no_clients():
    docker("kill", IDS["node2"])
    wait_for(lambda: proxied_nodes_or_none() == named("node1", "node3"), PROXY_MAX_SECONDS)
    for number in range(6):
        with client.channel(ADDRESS, PROXY_AMQP) as opened:
            queue = opened.queue_declare("", exclusive=True).method.queue
            client.publish(opened, queue, [str(number)])


def proxied_nodes_or_none():
    """As proxied_nodes; nobody while HAProxy still sends somebody to a node that is gone."""
    try:
        return proxied_nodes()
    except OSError:
        return None


@check
def the_others_go_on_without_it():
    if not is_clustered():
        return
    with client.channel(ADDRESS, AMQP["node1"]) as opened:
        client.publish(opened, "everywhere", ["three"])
    with client.channel(ADDRESS, AMQP["node3"]) as opened:
        same(client.take(opened, "everywhere"), ["three"], "with two of three nodes")


@check
def a_node_comes_back_with_its_messages():
    docker("start", IDS["node2"])
    wait_for(lambda: health(IDS["node2"]) == "healthy", HEALTHY_MAX_SECONDS)
    with client.channel(ADDRESS, AMQP["node2"]) as opened:
        same(client.take(opened, "of node2"), ["a", "b"], "messages")
    wait_for(lambda: proxied_nodes_or_none() == named(*NODES), PROXY_MAX_SECONDS)
    if is_clustered():
        for name in NODES:
            wait_for(lambda name=name: running(name) == named(*NODES), HEALTHY_MAX_SECONDS)


def running(name):
    """The nodes that run, as one of them sees it."""
    return {node["name"] for node in client.api(ADDRESS, HTTP[name], "nodes") if node["running"]}


@check
def nothing_panicked():
    for name in NODES:
        same([line for line in logs(IDS[name]).splitlines() if "panicked" in line], [], name)
