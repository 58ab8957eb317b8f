"""What a client does: connect, publish with confirms, take back."""
import contextlib
import json
import socket
import time
import urllib.request

import pika

HEADER = b"AMQP\0\0\x09\x01"


@contextlib.contextmanager
def channel(address, port):
    """A channel with confirms, as guest."""
    login = pika.PlainCredentials("guest", "guest")
    parameters = pika.ConnectionParameters(
        address, port, credentials=login, socket_timeout=5, stack_timeout=10, blocked_connection_timeout=10
    )
    connection = pika.BlockingConnection(parameters)
    try:
        opened = connection.channel()
        opened.confirm_delivery()
        yield opened
    finally:
        # The node may be gone by now, without the client having noticed.
        with contextlib.suppress(pika.exceptions.AMQPError):
            if connection.is_open:
                connection.close()


def publish(opened, queue, bodies):
    """Durable messages; comes back when all are confirmed."""
    for body in bodies:
        opened.basic_publish("", queue, body.encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)


def take(opened, queue):
    """All messages of a queue, in order."""
    bodies = []
    while True:
        method, _, body = opened.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


def greets(address, port, seconds=0.5):
    """Whether somebody there answers the AMQP header with a method, connection.start."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as peer:
            peer.sendall(HEADER)
            return peer.recv(1) == b"\x01"
    except OSError:
        return False


def wait_until_greeted(address, port, seconds):
    """The time of the first answer, by the clock of time.time()."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if greets(address, port):
            return time.time()
        time.sleep(0.005)
    raise AssertionError(f"{address}:{port} has not answered for {seconds} s")


def api(address, port, path):
    """The HTTP API's answer, as guest."""
    request = urllib.request.Request(f"http://{address}:{port}/api/{path}")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)
