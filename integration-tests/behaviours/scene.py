"""What a behaviour is given: names, connections, channels, the HTTP API.

A behaviour is a function taking a Scene and returning what it saw; `show`
turns that into JSON with everything random replaced.
"""
import base64
import http.client
import json
import re
import secrets
import time

from wire import Conn, Event, V, WAIT

BEHAVIOURS = {}


def behaviour(name):
    def register(function):
        assert name not in BEHAVIOURS, name
        BEHAVIOURS[name] = function
        return function
    return register


class Chan:
    """One open channel with short names for the methods used most."""

    def __init__(self, conn, number):
        self.conn, self.number = conn, number

    def open(self):
        return self.call("channel.open")

    def send(self, method, **args):
        self.conn.send(self.number, method, **args)

    def call(self, method, **args):
        """Send and wait for the answer, or for the channel's or connection's end."""
        self.send(method, **args)
        return self.answer(method)

    def answer(self, method, timeout=WAIT):
        wanted = {"basic.get-ok", "basic.get-empty"} if method == "basic.get" else {method + "-ok"}
        return self.conn.next(self.number, timeout, wanted)

    def next(self, timeout=WAIT, wanted=None):
        return self.conn.next(self.number, timeout, wanted)

    def collect(self, count, timeout=WAIT, wanted=None):
        """Up to `count` events; stops early at the end of channel, connection or time."""
        seen = []
        while len(seen) < count:
            event = self.next(timeout, wanted)
            seen.append(event)
            if event.name in ("timeout", "closed", "connection.close", "channel.close"):
                break
        return seen

    def quiet(self, seconds=0.3):
        """All events of the next moments; an empty list says that nothing came."""
        seen, until = [], time.monotonic() + seconds
        while True:
            event = self.next(max(0.0, until - time.monotonic()))
            if event.name == "timeout":
                return seen
            seen.append(event)
            if event.name in ("closed", "connection.close", "channel.close"):
                return seen

    def publish(self, exchange, key, body="m", props=None, **flags):
        self.conn.content(self.number, exchange, key, body, props, **flags)

    def declare(self, queue="", args=None, **flags):
        return self.call("queue.declare", queue=queue, arguments=args, **flags)

    def exchange(self, name, type="direct", args=None, **flags):
        return self.call("exchange.declare", exchange=name, type=type, arguments=args, **flags)

    def bind(self, queue, exchange, key="", args=None):
        return self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key,
                         arguments=args)

    def get(self, queue, no_ack=True):
        return self.call("basic.get", queue=queue, no_ack=no_ack)

    def get_all(self, queue, limit=50):
        """Everything in the queue, got with no-ack."""
        seen = []
        while len(seen) < limit:
            event = self.get(queue)
            if event.name != "basic.get-ok":
                return seen if event.name == "basic.get-empty" else seen + [event]
            seen.append(event)
        return seen

    def bodies(self, queue):
        return [e.body.decode() if e.body is not None else e for e in self.get_all(queue)]

    def consume(self, queue, tag="c", no_ack=False, args=None, **flags):
        return self.call("basic.consume", queue=queue, consumer_tag=tag, no_ack=no_ack,
                         arguments=args, **flags)

    def confirm(self):
        return self.call("confirm.select")

    def alive(self):
        """Is the channel still usable? The answer to a harmless call says so."""
        event = self.call("basic.qos", prefetch_count=0)
        return "alive" if event.name == "basic.qos-ok" else event

    def depth(self, queue):
        """Ready messages and consumers, by a passive declare."""
        event = self.declare(queue, passive=True)
        if event.name != "queue.declare-ok":
            return event
        return {"messages": event.messages, "consumers": event.consumers}

    def await_depth(self, queue, messages, timeout=WAIT):
        until = time.monotonic() + timeout
        while True:
            depth = self.depth(queue)
            if not isinstance(depth, dict) or depth["messages"] == messages \
                    or time.monotonic() > until:
                return depth
            time.sleep(0.02)


class Scene:
    def __init__(self, name, host, port, http_port, run_id):
        self.name_of_behaviour, self.run_id = name, run_id
        self.host, self.port, self.http_port = host, port, http_port
        self.deadline = time.monotonic() + 30
        self.conns, self.names, self.undo, self.main = [], [], [], None

    def name(self, suffix):
        """A name of our own, deleted as queue and as exchange afterwards."""
        name = f"beh-{self.name_of_behaviour}-{suffix}-{self.run_id}"
        if name not in self.names:
            self.names.append(name)
        return name

    def raw(self):
        conn = Conn(self.host, self.port, self.deadline)
        self.conns.append(conn)
        return conn

    def conn(self, **options):
        """A connection that is open; anything else is an error of the behaviour."""
        conn = self.raw()
        event = conn.handshake(**options)
        if event.name != "connection.open-ok":
            raise RuntimeError(f"connection.open: {show(event, self.run_id)}")
        return conn

    def chan(self, conn=None, number=1):
        """An open channel; without a connection, on the scene's own one."""
        if conn is None:
            conn, number = self.conn(), 1
        chan = Chan(conn, number)
        event = chan.open()
        if event.name != "channel.open-ok":
            raise RuntimeError(f"channel.open: {show(event, self.run_id)}")
        return chan

    def http(self, method, path, body=None, user="guest", password="guest"):
        if not self.http_port:
            raise RuntimeError("no HTTP port given")
        conn = http.client.HTTPConnection(self.host, self.http_port, timeout=WAIT + 2)
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        try:
            conn.request(method, "/api" + path, json.dumps(body) if body is not None else None,
                         {"Authorization": "Basic " + token, "Content-Type": "application/json"})
            answer = conn.getresponse()
            data = answer.read()
        finally:
            conn.close()
        try:
            return answer.status, json.loads(data) if data else None
        except ValueError:
            return answer.status, None

    def user(self, password="secret", permissions=("", "", ""), vhost="%2F", tags=""):
        """A user of our own with (configure, write, read) on one vhost."""
        name = f"beh-user-{secrets.token_hex(4)}-{self.run_id}"
        self.undo.append(lambda: self.http("DELETE", f"/users/{name}"))
        self.http("PUT", f"/users/{name}", {"password": password, "tags": tags})
        if permissions is not None:
            configure, write, read = permissions
            self.http("PUT", f"/permissions/{vhost}/{name}",
                      {"configure": configure, "write": write, "read": read})
        return name

    def vhost(self):
        name = f"beh-vhost-{self.name_of_behaviour}-{self.run_id}"
        self.undo.append(lambda: self.http("DELETE", f"/vhosts/{name}"))
        self.http("PUT", f"/vhosts/{name}", {})
        self.http("PUT", f"/permissions/{name}/guest",
                  {"configure": ".*", "write": ".*", "read": ".*"})
        return name

    def cleanup(self):
        for conn in self.conns:
            conn.close()
        for undo in self.undo:
            try:
                undo()
            except Exception:
                pass
        if self.names:
            conn = Conn(self.host, self.port, time.monotonic() + 15)
            try:
                if conn.handshake().name != "connection.open-ok":
                    return
                chan = Chan(conn, 1)
                chan.open()
                for name in self.names:
                    for method, key in (("queue.delete", "queue"), ("exchange.delete", "exchange")):
                        if chan.call(method, **{key: name}).name == "channel.close":
                            chan.open()
            finally:
                conn.close()


# -- normalised observations

def show_text(value, run_id):
    value = value.replace("-" + run_id, "")
    value = re.sub(r"amq\.gen-[\w-]+", "amq.gen-*", value)
    value = re.sub(r"amq\.ctag-[\w-]+", "amq.ctag-*", value)
    value = re.sub(r"amq\.rabbitmq\.reply-to\.[^\s\"']+", "amq.rabbitmq.reply-to.*", value)
    value = re.sub(r"beh-user-[0-9a-f]{8}", "beh-user", value)
    return re.sub(r"<\d+\.\d+\.\d+>", "<pid>", value)


def show_field(value, run_id):
    if isinstance(value, V):
        if value.kind == "T" and abs(value.value - time.time()) < 3600:
            return "T:now"
        if value.kind == "D":
            return f"D:{value.value[0]}:{value.value[1]}"
        return f"{value.kind}:{value.value}"
    if isinstance(value, bytes):
        return "x:" + value.hex()
    if isinstance(value, dict):
        return {k: show_field(v, run_id) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return [show_field(v, run_id) for v in value]
    return show_text(value, run_id) if isinstance(value, str) else value


def show_body(body):
    if len(body) > 200:
        return f"{len(body)} bytes"
    return body.decode("utf-8", "backslashreplace")


def show(value, run_id):
    """Any mix of events, fields and plain values as JSON-ready data."""
    if isinstance(value, Event):
        if value.name == "header":
            return "header " + " ".join(map(str, value.bytes))
        if value.name in ("channel.close", "connection.close"):
            return (f"{value.name} {value.code} {show_text(value.text, run_id)}"
                    f" [{value.class_id}.{value.method_id}]")
        words = [value.name]
        for key, arg in value.args.items():
            if isinstance(arg, dict):
                arg = json.dumps(show_field(arg, run_id))
            elif isinstance(arg, bool):
                arg = str(arg).lower()
            words.append(f"{key}={show_text(str(arg), run_id)}")
        if value.body is not None:
            if value.props:
                words.append("props=" + json.dumps(show_field(value.props, run_id), sort_keys=True))
            words.append("body=" + show_body(value.body))
        return " ".join(words)
    if isinstance(value, dict):
        return {show_text(str(k), run_id): show(v, run_id) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(v, run_id) for v in value]
    return show_field(value, run_id)
