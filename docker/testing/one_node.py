"""One node: how soon it is ready, who gets in, what its health says, and what a kill leaves."""
import datetime
import json
import os
import socket
import subprocess
import time

from checks import check, same, wait_for
from testing import client
from testing.workplace import ADDRESS, HERE, IMAGE, NAME, Failed, at_the_end, docker, health, logs

READY_MAX_SECONDS = 1.0
# A busy machine gets another look.
READY_TRIES = 3
NODE = f"{NAME}-one"
VOLUME = f"{NAME}-data"
PORTS = {}


def free_port():
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def create(name, volume, *options):
    """A node's container that is not started yet, held as tight as docker can; the port of its clients."""
    port = free_port()
    docker("create", "--name", name, "--hostname", "one", "-p", f"{ADDRESS}:{port}:5672",
           "-v", f"{volume}:/var/lib/leveret", "--read-only", "--cap-drop", "ALL",
           "--security-opt", "no-new-privileges", "--health-interval", "1s", *options, IMAGE)
    at_the_end("docker", "volume", "rm", volume)
    at_the_end("docker", "rm", "-f", "-v", name)
    return port


def ready_after(number):
    """Seconds from the start of a fresh node's process to its answer to a client."""
    name, volume = f"{NAME}-ready{number}", f"{NAME}-ready{number}"
    port = create(name, volume)
    asked = time.time()
    # Asking before the container's network is there would make the kernel wait a second until it looks again.
    docker("start", name)
    answered = client.wait_until_greeted(ADDRESS, port, 30)
    text = docker("inspect", "--format", "{{.State.StartedAt}}", name).rstrip("Z")[:26]
    started = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp()
    print(f"# ready {(answered - started) * 1000:.0f} ms after the container's start,"
          f" {(answered - asked) * 1000:.0f} ms after docker start was called", flush=True)
    docker("rm", "-f", name)
    return answered - started


@check
def a_node_is_ready_within_a_second():
    taken = []
    for number in range(READY_TRIES):
        taken.append(ready_after(number))
        if taken[-1] < READY_MAX_SECONDS:
            return
    raise AssertionError(f"ready after {', '.join(f'{seconds:.2f} s' for seconds in taken)}")


@check
def a_node_becomes_healthy():
    PORTS["amqp"] = create(NODE, VOLUME)
    docker("start", NODE)
    wait_for(lambda: health(NODE) == "healthy", 20)


@check
def guest_logs_in_from_outside_and_pika_gets_along():
    clients = os.path.join(os.path.dirname(HERE), "integration-tests/clients/run")
    where = dict(os.environ, AMQP_HOST=ADDRESS, AMQP_PORT=str(PORTS["amqp"]), CLIENT_TIMEOUT="60")
    done = subprocess.run([clients, "pika"], env=where, capture_output=True, text=True, timeout=80, check=False)
    same(done.returncode, 0, done.stdout.strip())


@check
def operators_need_no_password_inside():
    same(docker("exec", NODE, "rabbitmqctl", "-q", "-s", "list_users"), "guest\t[administrator]")
    docker("exec", NODE, "leveretctl", "-q", "check_port_connectivity")
    docker("exec", NODE, "leveretctl", "-q", "delete_user", "guest")
    docker("exec", NODE, "leveretctl", "-q", "check_running")
    docker("exec", NODE, "leveretctl", "-q", "check_ready_to_serve_clients")
    docker("exec", NODE, "leveretctl", "-q", "add_user", "guest", "guest")
    docker("exec", NODE, "leveretctl", "-q", "set_user_tags", "guest", "administrator")
    docker("exec", NODE, "leveretctl", "-q", "set_permissions", "guest", ".*", ".*", ".*")


@check
def the_operators_token_opens_nothing_from_elsewhere():
    # Another container that can read the node's volume, and so the token.
    address = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", NODE)
    try:
        docker("run", "--rm", "-v", f"{VOLUME}:/var/lib/leveret:ro", "--entrypoint", "leveretctl", IMAGE,
               "--url", f"http://{address}:15672", "list_users")
    except Failed as refused:
        if "only taken from the node's own machine" not in str(refused):
            raise
    else:
        raise AssertionError("the token was taken from another container")


@check
def a_killed_node_keeps_what_it_confirmed():
    bodies = [f"message {number}" for number in range(200)]
    with client.channel(ADDRESS, PORTS["amqp"]) as opened:
        opened.queue_declare("kept", durable=True)
        client.publish(opened, "kept", bodies)
    docker("kill", NODE)
    docker("start", NODE)
    client.wait_until_greeted(ADDRESS, PORTS["amqp"], 20)
    with client.channel(ADDRESS, PORTS["amqp"]) as opened:
        same(client.take(opened, "kept"), bodies, "messages after the kill")
    wait_for(lambda: health(NODE) == "healthy", 20)


def why_not_ready():
    """What load balancers are told instead of "ok"; nothing while the node is ready."""
    try:
        docker("exec", NODE, "leveretctl", "-q", "check_ready_to_serve_clients")
    except Failed as refused:
        return str(refused)
    return ""


@check
def a_stopping_node_says_so_and_stops_in_order():
    began = time.monotonic()
    # A client that does not answer keeps the node waiting for a moment.
    with client.channel(ADDRESS, PORTS["amqp"]):
        docker("kill", "-s", "TERM", NODE)
        told = wait_for(why_not_ready, 5)
        same("the node is stopping" in told, True, told)
        docker("wait", NODE, seconds=20)
    state = json.loads(docker("inspect", "--format", "{{json .State}}", NODE))
    same(state["ExitCode"], 0, "exit code")
    if time.monotonic() - began > 10:
        raise AssertionError(f"took {time.monotonic() - began:.1f} s")
    text = logs(NODE)
    same([line for line in text.splitlines() if "panicked" in line or "\x1b" in line], [], "wrong lines in the log")
    same("stopped" in text, True, "it says that it stopped")


@check
def a_data_directory_that_cannot_be_written_is_told():
    try:
        docker("run", "--rm", "--tmpfs", "/var/lib/leveret:mode=755", IMAGE)
    except Failed as refused:
        if "data-dir is '/var/lib/leveret'" not in str(refused):
            raise
    else:
        raise AssertionError("it started without a data directory")
