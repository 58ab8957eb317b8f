"""The three nodes of compose.yml as one cluster. Comes after three_nodes, whose containers these are."""
import contextlib
import threading
import time

from checks import check, same, wait_for
from testing import client
from testing.three_nodes import AMQP, HEALTHY_MAX_SECONDS, IDS, NODES, PROXY_AMQP
from testing.workplace import ADDRESS, docker, health, logs

# Until the others know that a node is gone, or is back.
NOTICED_MAX_SECONDS = 20
LOST_WORDS = "NOT_FOUND - home node 'leveret@{node}' of durable queue '{queue}' in vhost '/' is down or inaccessible"


def refusal(name, queue):
    """What a node says to somebody who asks for a queue; "" when it is there."""
    try:
        with client.channel(ADDRESS, AMQP[name]) as opened:
            opened.queue_declare(queue, passive=True)
    except client.pika.exceptions.ChannelClosedByBroker as closed:
        return f"{closed.reply_code} {closed.reply_text}"
    return ""


def declare(name, queue, bodies=(), durable=True):
    """A queue whose home is a node: queues are made where the client is."""
    with client.channel(ADDRESS, AMQP[name]) as opened:
        opened.queue_declare(queue, durable=durable)
        client.publish(opened, queue, bodies)


def others(name):
    return [node for node in NODES if node != name]


def until_healthy(name, seconds=HEALTHY_MAX_SECONDS):
    wait_for(lambda: health(IDS[name]) == "healthy", seconds)


@check
def what_one_node_declares_is_there_at_the_others():
    for name in NODES:
        declare(name, f"made at {name}")
        for other in others(name):
            same(refusal(other, f"made at {name}"), "", f"made at {name}, asked for at {other}")


@check
def one_queue_is_used_through_each_node():
    declare("node1", "everywhere")
    for name in NODES:
        with client.channel(ADDRESS, AMQP[name]) as opened:
            client.publish(opened, "everywhere", [f"sent to {name}"])
    for name, wanted in zip(reversed(NODES), NODES):
        with client.channel(ADDRESS, AMQP[name]) as opened:
            _, _, body = opened.basic_get("everywhere", auto_ack=True)
            same(body, f"sent to {wanted}".encode(), f"taken at {name}")


@check
def consumers_get_what_is_published_at_another_node():
    for name in NODES:
        with client.channel(ADDRESS, AMQP[others(name)[0]]) as opened:
            client.publish(opened, "everywhere", [f"for {name}"])
        with client.channel(ADDRESS, AMQP[name]) as opened:
            for method, _, body in opened.consume("everywhere", inactivity_timeout=10):
                same(body, f"for {name}".encode(), f"delivered at {name}")
                opened.basic_ack(method.delivery_tag)
                break
            opened.cancel()


@check
def a_killed_nodes_queues_are_out_of_reach_and_the_others_go_on():
    bodies = [f"message {number}" for number in range(100)]
    declare("node2", "kept by node2", bodies)
    declare("node2", "transient at node2", durable=False)
    declare("node3", "kept by node3")
    docker("kill", IDS["node2"])
    for name in ("node1", "node3"):
        wanted = "404 " + LOST_WORDS.format(node="node2", queue="kept by node2")
        wait_for(lambda name=name, wanted=wanted: refusal(name, "kept by node2") == wanted, NOTICED_MAX_SECONDS)
        same(refusal(name, "transient at node2"),
             "404 NOT_FOUND - no queue 'transient at node2' in vhost '/'", f"what {name} says")
    with client.channel(ADDRESS, AMQP["node1"]) as opened:
        client.publish(opened, "kept by node3", ["while node2 is away"])
        same(client.take(opened, "kept by node3"), ["while node2 is away"], "through node1")
    docker("start", IDS["node2"])
    until_healthy("node2")
    for name in NODES:
        wait_for(lambda name=name: refusal(name, "kept by node2") == "", NOTICED_MAX_SECONDS)
    with client.channel(ADDRESS, AMQP["node3"]) as opened:
        same(client.take(opened, "kept by node2"), bodies, "messages after node2 came back")


class Load:
    """A client behind HAProxy that publishes to one queue and goes on whatever happens to its connection."""

    def __init__(self, queue):
        self.queue, self.confirmed, self.ended = queue, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        while not self.ended.is_set():
            # A node that stops cuts its clients; a queue that is out of reach returns what is sent to it.
            with contextlib.suppress(client.pika.exceptions.AMQPError, OSError):
                with client.channel(ADDRESS, PROXY_AMQP) as opened:
                    while not self.ended.is_set():
                        client.publish(opened, self.queue, [str(number)])
                        self.confirmed.append(str(number))
                        number += 1
                        time.sleep(0.01)
            number += 1
            time.sleep(0.1)

    def stop(self):
        self.ended.set()
        self.thread.join(30)
        same(self.thread.is_alive(), False, f"the client of {self.queue} still runs")


@check
def nodes_are_restarted_one_after_another_under_load():
    for name in NODES:
        declare(name, f"loaded {name}")
    loads = [Load(f"loaded {name}") for name in NODES]
    try:
        for name in NODES:
            docker("restart", "-t", "20", IDS[name])
            # The old answer of the health check goes with the old process.
            until_healthy(name)
            before = [len(load.confirmed) for load in loads]
            wait_for(lambda before=before: all(len(load.confirmed) > count + 5
                                               for load, count in zip(loads, before)), NOTICED_MAX_SECONDS)
    finally:
        for load in loads:
            load.stop()
    for load in loads:
        with client.channel(ADDRESS, PROXY_AMQP) as opened:
            got = client.take(opened, load.queue)
        same(sorted(set(load.confirmed) - set(got)), [], f"confirmed and lost in {load.queue}")
        same(got, sorted(got, key=int), f"order in {load.queue}")
    print(f"# confirmed under load: {', '.join(str(len(load.confirmed)) for load in loads)}", flush=True)


@check
def still_nothing_panicked():
    for name in NODES:
        same([line for line in logs(IDS[name]).splitlines() if "panicked" in line], [], name)
