"""Frames that are wrong, odd or large."""
import struct

from scene import behaviour
from wire import (BY_NAME, FRAME_BODY, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD, content_header,
                  encode_method, frame)


def method(name, **args):
    return encode_method(name, args)


@behaviour("frame.wrong-end-marker")
def _(t):
    conn = t.conn()
    conn.send_raw(frame(FRAME_METHOD, 1, method("channel.open"), end=0))
    return [conn.event(5), conn.event(5)]


@behaviour("frame.wrong-end-marker-long-payload")
def _(t):
    conn = t.conn()
    conn.send_raw(frame(FRAME_METHOD, 1, method("channel.open") + b"x" * 40, end=1))
    return conn.event(5)


@behaviour("frame.oversized")
def _(t):
    conn = t.conn()
    chan = t.chan(conn)
    chan.send("basic.publish", routing_key=t.name("q"))
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 200000)))
    conn.send_raw(frame(FRAME_BODY, 1, b"x" * 140000))
    return conn.event(5)


for _size in (4089, 4096, 4097):
    @behaviour(f"frame.payload-{_size}-with-frame-max-4096")
    def _(t, size=_size):
        """A method frame too long for the frame size agreed on, by its header only."""
        conn = t.conn(frame_max=4096)
        t.chan(conn)
        conn.send_raw(struct.pack(">BHI", FRAME_METHOD, 1, size) + b"\0" * size + b"\xce")
        return conn.event(5)


@behaviour("frame.exactly-frame-max")
def _(t):
    conn = t.conn(frame_max=4096)
    chan, queue = t.chan(conn), t.name("q")
    chan.declare(queue)
    chan.publish("", queue, "x" * 4088)
    return chan.get(queue)


@behaviour("frame.unknown-type")
def _(t):
    conn = t.conn()
    conn.send_raw(frame(7, 0, b"abc"))
    return conn.event(5)


@behaviour("frame.unknown-type-on-channel")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(7, 1, b"abc"))
    return conn.event(5)


@behaviour("frame.heartbeat-accepted")
def _(t):
    conn = t.conn()
    conn.send_raw(frame(FRAME_HEARTBEAT, 0, b""))
    return t.chan(conn).alive()


@behaviour("frame.heartbeat-on-open-channel")
def _(t):
    conn = t.conn()
    chan = t.chan(conn)
    conn.send_raw(frame(FRAME_HEARTBEAT, 1, b""))
    return chan.alive()


@behaviour("frame.heartbeat-on-unopened-channel")
def _(t):
    conn = t.conn()
    conn.send_raw(frame(FRAME_HEARTBEAT, 5, b""))
    conn.send(1, "channel.open")
    return conn.event(5)


@behaviour("frame.heartbeat-with-payload")
def _(t):
    conn = t.conn()
    conn.send_raw(frame(FRAME_HEARTBEAT, 0, b"abc"))
    conn.send(1, "channel.open")
    return conn.event(5)


@behaviour("frame.empty-method")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_METHOD, 1, b""))
    return conn.event(5)


@behaviour("frame.unknown-method")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_METHOD, 1, struct.pack(">HH", 60, 999)))
    return conn.event(5)


@behaviour("frame.unknown-class")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_METHOD, 1, struct.pack(">HH", 999, 10)))
    return conn.event(5)


@behaviour("frame.method-cut-short")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_METHOD, 1, method("queue.declare", queue="beh-never-made")[:-3]))
    return conn.event(5)


@behaviour("frame.method-with-trailing-bytes")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_METHOD, 1, method("basic.qos") + b"xx"))
    return conn.event(5)


@behaviour("frame.server-method-from-client")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send(1, "queue.declare-ok", queue="x")
    return conn.event(5)


@behaviour("frame.header-without-method")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 1)))
    return conn.event(5)


@behaviour("frame.body-without-header")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send_raw(frame(FRAME_BODY, 1, b"x"))
    return conn.event(5)


@behaviour("frame.method-instead-of-header")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send(1, "basic.publish", routing_key=t.name("q"))
    conn.send(1, "basic.qos")
    return conn.event(5)


@behaviour("frame.method-instead-of-body")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send(1, "basic.publish", routing_key=t.name("q"))
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 10)))
    conn.send(1, "basic.qos")
    return conn.event(5)


@behaviour("frame.body-longer-than-announced")
def _(t):
    conn = t.conn()
    chan, queue = t.chan(conn), t.name("q")
    chan.declare(queue)
    conn.send(1, "basic.publish", routing_key=queue)
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 3)))
    conn.send_raw(frame(FRAME_BODY, 1, b"abcdef"))
    event = conn.event(0.5)
    return [event, chan.get(queue)] if event.name == "timeout" else event


@behaviour("frame.header-of-wrong-class")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send(1, "basic.publish", routing_key=t.name("q"))
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 1, class_id=50)))
    return conn.event(5)


@behaviour("frame.header-with-short-properties")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send(1, "basic.publish", routing_key=t.name("q"))
    header = struct.pack(">HHQH", 60, 0, 1, 0x8000) + b"\x09abc"
    conn.send_raw(frame(FRAME_HEADER, 1, header) + frame(FRAME_BODY, 1, b"x"))
    return conn.event(1)


@behaviour("frame.empty-body-frame-in-between")
def _(t):
    conn = t.conn()
    chan, queue = t.chan(conn), t.name("q")
    chan.declare(queue)
    conn.send(1, "basic.publish", routing_key=queue)
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 4)) + frame(FRAME_BODY, 1, b"ab")
                  + frame(FRAME_BODY, 1, b"") + frame(FRAME_BODY, 1, b"cd"))
    return chan.get(queue)


@behaviour("frame.two-channels-interleaved")
def _(t):
    conn = t.conn()
    one, two, queue = t.chan(conn, 1), t.chan(conn, 2), t.name("q")
    one.declare(queue)
    for chan, body in ((one, b"ab"), (two, b"cd")):
        chan.send("basic.publish", routing_key=queue)
    for chan in (one, two):
        conn.send_raw(frame(FRAME_HEADER, chan.number, content_header({}, 2)))
    for chan, body in ((one, b"a"), (two, b"c"), (one, b"b"), (two, b"d")):
        conn.send_raw(frame(FRAME_BODY, chan.number, body))
    two.alive()
    return sorted(one.bodies(queue))


@behaviour("frame.announced-2-gib-then-close")
def _(t):
    conn = t.conn()
    chan = t.chan(conn)
    chan.send("basic.publish", routing_key=t.name("q"))
    conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, 1 << 31)))
    return conn.event(1)


@behaviour("frame.method-on-channel-zero")
def _(t):
    conn = t.conn()
    conn.send(0, "queue.declare", queue=t.name("q"))
    return conn.event(5)


@behaviour("frame.connection-method-on-channel-one")
def _(t):
    conn = t.conn()
    t.chan(conn)
    conn.send(1, "connection.close", code=200, text="bye")
    return conn.event(5)


@behaviour("frame.body-frames-received-within-frame-max")
def _(t):
    """A 20,000 byte body over 4,096 byte frames: sizes of the frames that carry it."""
    conn = t.conn(frame_max=4096)
    chan, queue = t.chan(conn), t.name("q")
    chan.declare(queue)
    chan.publish("", queue, "y" * 20000)
    event = chan.get(queue)
    return [len(event.body), [size for kind, _, size in conn.frames if kind == FRAME_BODY]]


@behaviour("frame.class-ids-of-close-name-the-method")
def _(t):
    event = t.chan().call("queue.purge", queue=t.name("missing"))
    spec = BY_NAME["queue.purge"]
    return [event, [event.class_id, event.method_id] == [spec[1], spec[2]]]
