"""Three nodes that know one name of all of them, as compose.dns.yml starts them."""
import json

from checks import check, same, wait_for
from testing import client
from testing.three_nodes import HEALTHY_MAX_SECONDS
from testing.workplace import HERE, NAME, at_the_end, compose_tool, docker, health, logs, run

COMMAND = [*compose_tool(), "-p", f"{NAME}-dns", "-f", f"{HERE}/compose.dns.yml"]
NODES = ("a", "b", "c")
IDS = {}


def container(name):
    return run([*COMMAND, "ps", "-q", name])


def address(name):
    """A container's address in its network, which this machine reaches too."""
    networks = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", IDS[name]))
    return next(iter(networks.values()))["IPAddress"]


def until_healthy():
    for name in NODES:
        wait_for(lambda name=name: health(IDS[name]) == "healthy", HEALTHY_MAX_SECONDS)


@check
def two_of_three_form_the_cluster_and_the_third_joins():
    at_the_end(*COMMAND, "down", "-v", "-t", "10")
    run([*COMMAND, "up", "-d", "a"], seconds=90)
    IDS["a"] = container("a")
    wait_for(lambda: "waiting for 2 of 3 nodes to form a cluster: 1 are there" in logs(IDS["a"]), 20)
    same(health(IDS["a"]) == "healthy", False, "one node of three gets clients")
    run([*COMMAND, "up", "-d"], seconds=90)
    IDS.update({name: container(name) for name in NODES})
    until_healthy()
    formed = [name for name in NODES if "formed a cluster" in logs(IDS[name])]
    same(len(formed), 1, f"formed by {formed}")


@check
def they_are_one_cluster():
    for name, other in zip(NODES, (*NODES[1:], NODES[0])):
        with client.channel(address(name), 5672) as opened:
            opened.queue_declare(f"of {name}", durable=True)
        with client.channel(address(other), 5672) as opened:
            client.publish(opened, f"of {name}", ["through another"])
            same(client.take(opened, f"of {name}"), ["through another"], f"of {name} through {other}")


@check
def all_stop_and_come_back_at_whatever_addresses():
    run([*COMMAND, "stop", "-t", "20"], seconds=90)
    # In the other order, so that Docker hands the addresses out differently.
    for name in reversed(NODES):
        docker("start", IDS[name])
    until_healthy()
    for name in NODES:
        for other in NODES:
            wait_for(lambda name=name, other=other: is_there(name, other), 20)
    for name in NODES:
        same([line for line in logs(IDS[name]).splitlines() if "panicked" in line], [], name)


def is_there(name, other):
    """Whether the queue of one node can be used through another."""
    try:
        with client.channel(address(name), 5672) as opened:
            opened.queue_declare(f"of {other}", passive=True)
    except client.pika.exceptions.ChannelClosedByBroker:
        return False
    return True
