"""From the protocol header to connection.open-ok, and the way out."""
from scene import behaviour
from wire import HEADER, V


@behaviour("start.versions-mechanisms-locales")
def _(t):
    conn = t.conn()
    start = conn.start
    return {"version": [start.version_major, start.version_minor],
            "plain": "PLAIN" in start.mechanisms.split(),
            "amqplain": "AMQPLAIN" in start.mechanisms.split(), "locales": start.locales}


@behaviour("start.server-properties-keys")
def _(t):
    return list(t.conn().start.server_properties)


@behaviour("start.server-properties-types")
def _(t):
    props = t.conn().start.server_properties
    return {key: type(value).__name__ for key, value in props.items()}


@behaviour("start.product")
def _(t):
    return t.conn().start.server_properties.get("product")


@behaviour("start.capabilities")
def _(t):
    return t.conn().start.server_properties["capabilities"]


@behaviour("tune.values")
def _(t):
    return t.conn().tune


@behaviour("open.open-ok")
def _(t):
    return t.raw().handshake()


for _name, _bytes in {
        "amqp-1-0": b"AMQP\x00\x01\x00\x00", "amqp-1-0-sasl": b"AMQP\x03\x01\x00\x00",
        "amqp-0-8": b"AMQP\x01\x01\x08\x00", "amqp-0-9": b"AMQP\x01\x01\x00\x09",
        "amqp-0-9-2": b"AMQP\x00\x00\x09\x02", "amqp-0-10": b"AMQP\x01\x01\x00\x0a",
        "http-get": b"GET / HTTP/1.1\r\n\r\n", "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01",
        "garbage": b"\x00" * 8, "wrong-letters": b"AMQX\x00\x00\x09\x01"}.items():
    @behaviour("header." + _name)
    def _(t, data=_bytes):
        conn = t.raw()
        conn.send_raw(data)
        event = conn.event(5)
        if event.name == "connection.start":
            return "connection.start"
        return [event, conn.event(5)] if event.name == "header" else event


@behaviour("header.in-pieces")
def _(t):
    conn = t.raw()
    for at in range(len(HEADER)):
        conn.send_raw(HEADER[at:at + 1])
    return conn.event().name


@behaviour("tune.frame-max-below-minimum")
def _(t):
    return t.raw().handshake(frame_max=1024, timeout=5)


@behaviour("tune.frame-max-4095")
def _(t):
    return t.raw().handshake(frame_max=4095, timeout=5)


@behaviour("tune.frame-max-4096")
def _(t):
    return t.raw().handshake(frame_max=4096)


@behaviour("tune.frame-max-zero")
def _(t):
    return t.raw().handshake(frame_max=0, timeout=5)


@behaviour("tune.frame-max-above-offer")
def _(t):
    return t.raw().handshake(frame_max=1 << 20, timeout=5)


@behaviour("tune.channel-max-above-offer")
def _(t):
    return t.raw().handshake(channel_max=5000, timeout=5)


@behaviour("tune.channel-max-zero")
def _(t):
    return t.raw().handshake(channel_max=0, timeout=5)


@behaviour("tune.channel-max-two-third-channel")
def _(t):
    conn = t.conn(channel_max=2)
    return [t.chan(conn, 1).alive(), t.chan(conn, 2).alive(),
            [conn.send(3, "channel.open"), conn.event()][1]]


@behaviour("tune.channel-max-number-above")
def _(t):
    conn = t.conn(channel_max=10)
    conn.send(11, "channel.open")
    return conn.event()


@behaviour("tune.channel-number-2047")
def _(t):
    conn = t.conn()
    conn.send(2047, "channel.open")
    return conn.event()


@behaviour("tune.channel-number-2048")
def _(t):
    conn = t.conn()
    conn.send(2048, "channel.open")
    return conn.event()


@behaviour("tune.heartbeat-one-second")
def _(t):
    """The broker sends heartbeats of its own, and misses ours."""
    conn = t.conn(heartbeat=1)
    event = conn.event(6)
    return {"end": event, "beats": "some" if conn.heartbeats else "none"}


@behaviour("tune.heartbeat-zero-none-sent")
def _(t):
    conn = t.conn(heartbeat=0)
    return {"end": conn.event(2.5), "beats": conn.heartbeats}


@behaviour("tune.instead-of-start-ok")
def _(t):
    conn = t.raw()
    conn.send_raw(HEADER)
    conn.event()
    conn.send(0, "connection.tune-ok", channel_max=10, frame_max=131072, heartbeat=0)
    return conn.event(5)


@behaviour("open.before-tune-ok")
def _(t):
    conn = t.raw()
    conn.send_raw(HEADER)
    conn.event()
    conn.send(0, "connection.open", vhost="/")
    return conn.event(5)


@behaviour("open.second-open")
def _(t):
    conn = t.conn()
    conn.send(0, "connection.open", vhost="/")
    return conn.event(5)


@behaviour("open.second-start-ok")
def _(t):
    conn = t.conn()
    conn.send(0, "connection.start-ok", client_properties={}, mechanism="PLAIN",
              response="\0guest\0guest", locale="en_US")
    return conn.event(5)


@behaviour("open.channel-before-open")
def _(t):
    conn = t.raw()
    conn.send_raw(HEADER)
    conn.event()
    conn.send(1, "channel.open")
    return conn.event(5)


@behaviour("open.vhost-missing")
def _(t):
    return t.raw().handshake(vhost="beh-no-such-vhost")


@behaviour("open.vhost-empty")
def _(t):
    return t.raw().handshake(vhost="")


@behaviour("open.vhost-not-permitted")
def _(t):
    user = t.user(permissions=None)
    return t.raw().handshake(user=user, password="secret")


@behaviour("close.close-ok-then-eof")
def _(t):
    conn = t.conn()
    conn.send(0, "connection.close", code=200, text="bye")
    return [conn.event(), conn.event(1)]


@behaviour("close.frames-after-close-ignored")
def _(t):
    conn = t.conn()
    chan = t.chan(conn)
    conn.send(0, "connection.close", code=200, text="bye")
    chan.send("queue.declare", queue=t.name("q"))
    return [conn.event(), conn.event(1)]


@behaviour("close.by-http-api")
def _(t):
    conn = t.conn(client={"connection_name": t.name("c")})
    name = f"{conn.sock.getsockname()[0]}:{conn.sock.getsockname()[1]} -> {t.host}:{t.port}"
    import time
    from urllib.parse import quote
    until, status = time.monotonic() + 15, None
    while time.monotonic() < until:
        status, _ = t.http("DELETE", "/connections/" + quote(name, safe=""))
        if status == 204:
            break
        time.sleep(0.3)
    return [status, conn.event(), conn.event()]


@behaviour("blocked.no-alarm-no-event")
def _(t):
    conn = t.conn()
    chan = t.chan(conn)
    chan.publish("", t.name("q"))
    return [chan.alive(), conn.event(0.3)]


@behaviour("client-properties.every-type")
def _(t):
    return t.raw().handshake(client={
        "t": True, "b": V("b", -1), "B": V("B", 255), "s": V("s", -2), "u": V("u", 65535),
        "I": -3, "i": V("i", 2**32 - 1), "l": V("l", -2**60), "f": V("f", 1.5), "d": 2.25,
        "D": V("D", (2, 314)), "S": "text", "x": b"\x00\xff", "A": [1, "a", [True]],
        "T": V("T", 1), "F": {"in": {"in": 1}}, "V": None})


@behaviour("client-properties.unknown-field-type")
def _(t):
    return t.raw().handshake(client={"odd": V("Z", b"\x00\x00\x00\x00")}, timeout=4)
