"""AMQP 0-9-1 on a raw socket: a codec and a connection that hides nothing.

Every byte that leaves can be chosen by the caller, and every frame that comes
back is turned into an Event; a closed socket and a timeout are Events too.
"""
import socket
import struct
import time

FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT = 1, 2, 3, 8
FRAME_END = 206
HEADER = b"AMQP\x00\x00\x09\x01"
WAIT = 3.0

# name class.id arg:type ...  (o octet, h short, w long, q longlong,
# s shortstr, S longstr, F table, b bit)
METHODS_TEXT = """
connection.start 10.10 version_major:o version_minor:o server_properties:F mechanisms:S locales:S
connection.start-ok 10.11 client_properties:F mechanism:s response:S locale:s
connection.secure 10.20 challenge:S
connection.secure-ok 10.21 response:S
connection.tune 10.30 channel_max:h frame_max:w heartbeat:h
connection.tune-ok 10.31 channel_max:h frame_max:w heartbeat:h
connection.open 10.40 vhost:s capabilities:s insist:b
connection.open-ok 10.41 known_hosts:s
connection.close 10.50 code:h text:s class_id:h method_id:h
connection.close-ok 10.51
connection.blocked 10.60 reason:s
connection.unblocked 10.61
connection.update-secret 10.70 secret:S reason:s
connection.update-secret-ok 10.71
channel.open 20.10 out_of_band:s
channel.open-ok 20.11 channel_id:S
channel.flow 20.20 active:b
channel.flow-ok 20.21 active:b
channel.close 20.40 code:h text:s class_id:h method_id:h
channel.close-ok 20.41
access.request 30.10 realm:s exclusive:b passive:b active:b write:b read:b
access.request-ok 30.11 ticket:h
exchange.declare 40.10 ticket:h exchange:s type:s passive:b durable:b auto_delete:b internal:b nowait:b arguments:F
exchange.declare-ok 40.11
exchange.delete 40.20 ticket:h exchange:s if_unused:b nowait:b
exchange.delete-ok 40.21
exchange.bind 40.30 ticket:h destination:s source:s routing_key:s nowait:b arguments:F
exchange.bind-ok 40.31
exchange.unbind 40.40 ticket:h destination:s source:s routing_key:s nowait:b arguments:F
exchange.unbind-ok 40.51
queue.declare 50.10 ticket:h queue:s passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:F
queue.declare-ok 50.11 queue:s messages:w consumers:w
queue.bind 50.20 ticket:h queue:s exchange:s routing_key:s nowait:b arguments:F
queue.bind-ok 50.21
queue.purge 50.30 ticket:h queue:s nowait:b
queue.purge-ok 50.31 messages:w
queue.delete 50.40 ticket:h queue:s if_unused:b if_empty:b nowait:b
queue.delete-ok 50.41 messages:w
queue.unbind 50.50 ticket:h queue:s exchange:s routing_key:s arguments:F
queue.unbind-ok 50.51
basic.qos 60.10 prefetch_size:w prefetch_count:h is_global:b
basic.qos-ok 60.11
basic.consume 60.20 ticket:h queue:s consumer_tag:s no_local:b no_ack:b exclusive:b nowait:b arguments:F
basic.consume-ok 60.21 consumer_tag:s
basic.cancel 60.30 consumer_tag:s nowait:b
basic.cancel-ok 60.31 consumer_tag:s
basic.publish 60.40 ticket:h exchange:s routing_key:s mandatory:b immediate:b
basic.return 60.50 code:h text:s exchange:s routing_key:s
basic.deliver 60.60 consumer_tag:s tag:q redelivered:b exchange:s routing_key:s
basic.get 60.70 ticket:h queue:s no_ack:b
basic.get-ok 60.71 tag:q redelivered:b exchange:s routing_key:s messages:w
basic.get-empty 60.72 cluster_id:s
basic.ack 60.80 tag:q multiple:b
basic.reject 60.90 tag:q requeue:b
basic.recover-async 60.100 requeue:b
basic.recover 60.110 requeue:b
basic.recover-ok 60.111
basic.nack 60.120 tag:q multiple:b requeue:b
confirm.select 85.10 nowait:b
confirm.select-ok 85.11
tx.select 90.10
tx.select-ok 90.11
tx.commit 90.20
tx.commit-ok 90.21
tx.rollback 90.30
tx.rollback-ok 90.31
"""

BY_NAME, BY_ID = {}, {}
for _line in METHODS_TEXT.split("\n"):
    if _line:
        _name, _ids, *_args = _line.split()
        _class, _method = map(int, _ids.split("."))
        _spec = (_name, _class, _method, [a.split(":") for a in _args])
        BY_NAME[_name] = BY_ID[_class, _method] = _spec

WITH_CONTENT = {"basic.publish", "basic.return", "basic.deliver", "basic.get-ok"}

PROPERTIES = [
    ("content_type", "s"), ("content_encoding", "s"), ("headers", "F"),
    ("delivery_mode", "o"), ("priority", "o"), ("correlation_id", "s"),
    ("reply_to", "s"), ("expiration", "s"), ("message_id", "s"),
    ("timestamp", "q"), ("type", "s"), ("user_id", "s"), ("app_id", "s"),
    ("cluster_id", "s"),
]


class V:
    """A field value with an explicit AMQP type letter."""

    def __init__(self, kind, value):
        self.kind, self.value = kind, value

    def __eq__(self, other):
        return isinstance(other, V) and (self.kind, self.value) == (other.kind, other.value)

    def __repr__(self):
        return f"V({self.kind!r}, {self.value!r})"


NUMBERS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I",
           "l": ">q", "f": ">f", "d": ">d", "T": ">Q"}
SIZES = {"o": ">B", "h": ">H", "w": ">I", "q": ">Q"}


def text(data):
    return data.decode("utf-8", "backslashreplace")


def raw(value):
    return value if isinstance(value, bytes) else value.encode()


def encode_field(value):
    if isinstance(value, V):
        if value.kind in NUMBERS:
            return raw(value.kind) + struct.pack(NUMBERS[value.kind], value.value)
        if value.kind == "D":
            return b"D" + struct.pack(">BI", *value.value)
        if value.kind in ("S", "x"):
            return raw(value.kind) + struct.pack(">I", len(raw(value.value))) + raw(value.value)
        return raw(value.kind) + value.value  # anything: type letter and bytes
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return encode_field(V("I" if -2**31 <= value < 2**31 else "l", value))
    if isinstance(value, float):
        return encode_field(V("d", value))
    if isinstance(value, str):
        return encode_field(V("S", value))
    if isinstance(value, bytes):
        return encode_field(V("x", value))
    if isinstance(value, list):
        data = b"".join(map(encode_field, value))
        return b"A" + struct.pack(">I", len(data)) + data
    return b"F" + encode_table(value)


def encode_table(table):
    data = b""
    for key, value in (table or {}).items():
        data += bytes([len(raw(key))]) + raw(key) + encode_field(value)
    return struct.pack(">I", len(data)) + data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError("short data")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def field(self):
        kind = chr(self.take(1)[0])
        if kind == "t":
            return bool(self.take(1)[0])
        if kind in NUMBERS:
            value = self.number(NUMBERS[kind])
            return value if kind in "Id" else V(kind, value)
        if kind == "D":
            return V("D", (self.number(">B"), self.number(">I")))
        if kind == "S":
            return text(self.take(self.number(">I")))
        if kind == "x":
            return bytes(self.take(self.number(">I")))
        if kind == "V":
            return None
        if kind == "F":
            return self.table()
        if kind == "A":
            inner, values = Reader(self.take(self.number(">I"))), []
            while inner.at < len(inner.data):
                values.append(inner.field())
            return values
        raise ValueError(f"field type {kind!r}")

    def table(self):
        inner, table = Reader(self.take(self.number(">I"))), {}
        while inner.at < len(inner.data):
            key = text(inner.take(inner.number(">B")))
            table[key] = inner.field()
        return table

    def argument(self, kind):
        if kind in SIZES:
            return self.number(SIZES[kind])
        if kind == "s":
            return text(self.take(self.number(">B")))
        if kind == "S":
            return text(self.take(self.number(">I")))
        return self.table()


def encode_argument(kind, value):
    if kind in SIZES:
        return struct.pack(SIZES[kind], value or 0)
    if kind == "s":
        return bytes([len(raw(value or ""))]) + raw(value or "")
    if kind == "S":
        return struct.pack(">I", len(raw(value or ""))) + raw(value or "")
    return value.value if isinstance(value, V) else encode_table(value)


def encode_method(name, args):
    _, class_id, method_id, spec = BY_NAME[name]
    unknown = set(args) - {a for a, _ in spec}
    assert not unknown, f"{name} has no {unknown}"
    out, bits, count = struct.pack(">HH", class_id, method_id), 0, 0
    for arg, kind in spec:
        if kind == "b":
            bits |= bool(args.get(arg)) << count
            count += 1
            continue
        if count:
            out, bits, count = out + bytes([bits]), 0, 0
        out += encode_argument(kind, args.get(arg))
    return out + bytes([bits]) if count else out


def decode_method(payload):
    reader = Reader(payload)
    ids = reader.number(">H"), reader.number(">H")
    name, _, _, spec = BY_ID.get(ids, (f"method.{ids[0]}.{ids[1]}", *ids, []))
    args, bits, count = {}, 0, 0
    for arg, kind in spec:
        if kind == "b":
            if count == 0:
                bits = reader.take(1)[0]
            args[arg] = bool(bits >> count & 1)
            count = (count + 1) % 8
        else:
            count = 0
            args[arg] = reader.argument(kind)
    return name, args


def encode_properties(props):
    flags, out = 0, b""
    for index, (name, kind) in enumerate(PROPERTIES):
        if name in props:
            flags |= 1 << (15 - index)
            out += encode_argument(kind, props[name])
    return struct.pack(">H", flags) + out


def decode_properties(reader):
    flags, props = reader.number(">H"), {}
    for index, (name, kind) in enumerate(PROPERTIES):
        if flags >> (15 - index) & 1:
            props[name] = reader.argument(kind)
    return props


class Event:
    """Something that came from the peer: a method, or `closed`, `timeout`, `header`."""

    def __init__(self, name, args=None, channel=0):
        self.name, self.args, self.channel = name, args or {}, channel
        self.props, self.body = None, None

    def __getattr__(self, key):
        try:
            return self.__dict__["args"][key]
        except KeyError:
            raise AttributeError(f"{self.name} has no {key}") from None


def frame(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def content_header(props, size, class_id=60):
    return struct.pack(">HHQ", class_id, 0, size) + encode_properties(props)


class Closed(Exception):
    pass


class Conn:
    """One socket; `frame_max` bounds what content() sends."""

    def __init__(self, host, port, deadline=None):
        self.deadline = deadline or time.monotonic() + 60
        self.sock = socket.create_connection((host, port), WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.frame_max = b"", 131072
        self.pending, self.partial, self.dead = [], {}, False
        self.start = self.tune = None
        self.heartbeats = 0
        self.frames = []  # (type, channel, payload size) of everything received
        self.auto_close_ok = True

    # -- out
    def send_raw(self, data):
        try:
            self.sock.settimeout(WAIT)
            self.sock.sendall(data)
        except OSError:
            pass  # what the peer made of it shows on reading

    def send(self, channel, name, **args):
        self.send_raw(frame(FRAME_METHOD, channel, encode_method(name, args)))

    def content(self, channel, exchange, key, body=b"", props=None, pieces=None, **flags):
        """basic.publish with its header and body frames in one write."""
        body, limit = raw(body), self.frame_max - 8
        method = encode_method("basic.publish", dict(exchange=exchange, routing_key=key, **flags))
        data = frame(FRAME_METHOD, channel, method)
        data += frame(FRAME_HEADER, channel, content_header(props or {}, len(body)))
        limit = pieces or limit
        for at in range(0, len(body), limit):
            data += frame(FRAME_BODY, channel, body[at:at + limit])
        self.send_raw(data)

    # -- in
    def fill(self, count, until):
        until = min(until, self.deadline)
        while len(self.buffer) < count:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 16)
            except socket.timeout:
                raise TimeoutError from None
            except OSError:
                data = b""
            if not data:
                raise Closed
            self.buffer += data

    def read_frame(self, until):
        self.fill(8, until)
        if self.buffer[:4] == b"AMQP":
            data, self.buffer = self.buffer[:8], self.buffer[8:]
            return "header", 0, data
        kind, channel, size = struct.unpack(">BHI", self.buffer[:7])
        self.fill(8 + size, until)
        payload, end = self.buffer[7:7 + size], self.buffer[7 + size]
        self.buffer = self.buffer[8 + size:]
        assert end == FRAME_END, "frame end"
        self.frames.append((kind, channel, size))
        return kind, channel, payload

    def event(self, timeout=WAIT):
        """The next complete event of any channel."""
        until = time.monotonic() + timeout
        while True:
            if self.dead:
                return Event("closed")
            try:
                kind, channel, payload = self.read_frame(until)
            except TimeoutError:
                return Event("timeout")
            except Closed:
                self.dead = True
                return Event("closed")
            if kind == "header":
                return Event("header", {"bytes": payload})
            if kind == FRAME_HEARTBEAT:
                self.heartbeats += 1
                continue
            done = self.assemble(kind, channel, payload)
            if done is None:
                continue
            if done.name == "connection.close" and self.auto_close_ok:
                self.send(0, "connection.close-ok")
            if done.name == "channel.close" and self.auto_close_ok:
                self.send(channel, "channel.close-ok")
            return done

    def assemble(self, kind, channel, payload):
        if kind == FRAME_METHOD:
            name, args = decode_method(payload)
            event = Event(name, args, channel)
            if name in WITH_CONTENT:
                self.partial[channel] = event
                return None
            return event
        event = self.partial[channel]
        if kind == FRAME_HEADER:
            reader = Reader(payload)
            reader.take(4)
            event.size = reader.number(">Q")
            event.props, event.body = decode_properties(reader), b""
        else:
            event.body += payload
        if len(event.body) < event.size:
            return None
        return self.partial.pop(channel)

    def next(self, channel, timeout=WAIT, wanted=None):
        """The next event of one channel (or of the whole connection's end)."""
        until = time.monotonic() + timeout
        for index, event in enumerate(self.pending):
            if event.channel == channel and (wanted is None or event.name in wanted):
                return self.pending.pop(index)
        while True:
            event = self.event(max(0.0, until - time.monotonic()))
            if event.name in ("closed", "timeout", "connection.close", "header"):
                return event
            if event.channel == channel and (
                    wanted is None or event.name in wanted or event.name == "channel.close"):
                return event
            self.pending.append(event)

    # -- the usual opening
    def handshake(self, user="guest", password="guest", vhost="/", mechanism="PLAIN",
                  response=None, capabilities=None, client=None, channel_max=None,
                  frame_max=None, heartbeat=0, timeout=WAIT):
        """Runs up to connection.open-ok; returns the last event seen."""
        self.send_raw(HEADER)
        self.start = event = self.event(timeout)
        if event.name != "connection.start":
            return event
        if response is None:
            if mechanism == "AMQPLAIN":
                response = encode_table({"LOGIN": user, "PASSWORD": password})[4:]
            else:
                response = b"\0" + raw(user) + b"\0" + raw(password)
        if capabilities is None:
            capabilities = {name: True for name in (
                "publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                "consumer_cancel_notify", "connection.blocked", "authentication_failure_close")}
        props = {"product": "behaviours", "capabilities": capabilities}
        props.update(client or {})
        self.send(0, "connection.start-ok", client_properties=props, mechanism=mechanism,
                  response=response, locale="en_US")
        self.tune = event = self.event(timeout)
        if event.name != "connection.tune":
            return event
        pick = lambda mine, theirs: theirs if mine is None else mine
        self.frame_max = pick(frame_max, event.frame_max) or 131072
        self.send(0, "connection.tune-ok", channel_max=pick(channel_max, event.channel_max),
                  frame_max=pick(frame_max, event.frame_max), heartbeat=heartbeat)
        self.send(0, "connection.open", vhost=vhost)
        return self.event(timeout)

    def close(self):
        if self.sock.fileno() < 0:
            return
        if not self.dead:
            self.send(0, "connection.close", code=200, text="bye")
            until = time.monotonic() + 1
            while not self.dead and time.monotonic() < until:
                if self.event(0.5).name in ("connection.close-ok", "timeout"):
                    break
        self.sock.close()
