"""The three nodes of compose.yml as one cluster. Comes after three_nodes, whose containers these are."""
from checks import check, same, wait_for
from testing import client
from testing.three_nodes import AMQP, HEALTHY_MAX_SECONDS, HTTP, IDS, NODES, named
from testing.workplace import ADDRESS, docker, health, logs

# Until the others know that a node is gone, and its queues have another home.
TAKEN_OVER_MAX_SECONDS = 30


def running(name):
    """The nodes that run, as one of them sees it."""
    try:
        return {node["name"] for node in client.api(ADDRESS, HTTP[name], "nodes") if node["running"]}
    except OSError:
        return set()


def until_all_run():
    for name in NODES:
        wait_for(lambda name=name: running(name) == named(*NODES), HEALTHY_MAX_SECONDS)


@check
def each_node_knows_the_others():
    until_all_run()
    for name in NODES:
        said = docker("exec", IDS[name], "leveretctl", "cluster_status")
        for node in named(*NODES):
            same(node in said, True, f"{node} in what {name} says")


@check
def a_queue_is_there_at_each_node():
    with client.channel(ADDRESS, AMQP["node1"]) as opened:
        opened.queue_declare("everywhere", durable=True)
        client.publish(opened, "everywhere", ["one", "two"])
    for name, wanted in (("node2", b"one"), ("node3", b"two")):
        with client.channel(ADDRESS, AMQP[name]) as opened:
            _, _, body = opened.basic_get("everywhere", auto_ack=True)
            same(body, wanted, f"taken at {name}")


def taken(name, queue):
    """A queue's messages, or None while it cannot be had."""
    try:
        with client.channel(ADDRESS, AMQP[name]) as opened:
            return client.take(opened, queue)
    except client.pika.exceptions.AMQPError:
        return None


@check
def a_mirrored_queue_outlives_any_node():
    docker("exec", IDS["node1"], "leveretctl", "-q", "set_policy", "mirrored", "^mirrored", '{"ha-mode":"all"}')
    for name in NODES:
        other = NODES[(NODES.index(name) + 1) % len(NODES)]
        queue = f"mirrored by {name}"
        bodies = [f"message {number}" for number in range(100)]
        with client.channel(ADDRESS, AMQP[name]) as opened:
            opened.queue_declare(queue, durable=True)
            client.publish(opened, queue, bodies)
        docker("kill", IDS[name])
        wait_for(lambda other=other, name=name: f"leveret@{name}" not in running(other), TAKEN_OVER_MAX_SECONDS)
        got = wait_for(lambda other=other, queue=queue: taken(other, queue), TAKEN_OVER_MAX_SECONDS)
        same(got, bodies, f"messages after {name} was killed")
        docker("start", IDS[name])
        wait_for(lambda name=name: health(IDS[name]) == "healthy", HEALTHY_MAX_SECONDS)
        until_all_run()


@check
def still_nothing_panicked():
    for name in NODES:
        same([line for line in logs(IDS[name]).splitlines() if "panicked" in line], [], name)
