"""Bodies and properties come out as they went in."""
import hashlib

from scene import behaviour
from wire import FRAME_BODY, FRAME_HEADER, V, content_header, frame


def through(t, body, props=None, **options):
    chan = t.chan(t.conn(**options))
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), body, props)
    return chan.get(t.name("q"))


def same(event, body):
    if event.body is None:
        return event
    return [len(event.body), hashlib.sha256(event.body).digest() == hashlib.sha256(body).digest()]


@behaviour("body.zero-length")
def _(t):
    return through(t, "")


@behaviour("body.zero-length-no-properties-consumed")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.consume(t.name("q"), no_ack=True)
    for body in ("", "after"):
        chan.publish("", t.name("q"), body)
    return chan.collect(2)


for _size in (1, 4087, 131064, 131065, 1 << 20, 5 << 20):
    @behaviour(f"body.{_size}-bytes")
    def _(t, size=_size):
        body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
        return same(through(t, body), body)


@behaviour("body.larger-than-128-mib")
def _(t):
    """One byte more than RabbitMQ's limit; the 4.x limit of 16 MiB refuses it sooner."""
    chan, size = t.chan(), (128 << 20) + 1
    chan.send("basic.publish", routing_key=t.name("q"))
    chan.conn.send_raw(frame(FRAME_HEADER, 1, content_header({}, size)))
    piece = b"x" * 131064
    whole = frame(FRAME_BODY, 1, piece) * 8
    for _ in range(size // len(piece) // 8):
        chan.conn.send_raw(whole)
    for left in range(size // len(piece) % 8):
        chan.conn.send_raw(frame(FRAME_BODY, 1, piece))
    chan.conn.send_raw(frame(FRAME_BODY, 1, b"x" * (size % len(piece))))
    return chan.next()


@behaviour("body.1-mib-with-4096-byte-frames")
def _(t):
    body = bytes(range(256)) * 4096
    return same(through(t, body, frame_max=4096), body)


@behaviour("body.one-byte-frames")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), "abcdefghij", pieces=1)
    return chan.get(t.name("q"))


@behaviour("properties.all")
def _(t):
    return through(t, "m", {
        "content_type": "text/plain", "content_encoding": "utf-8", "headers": {"k": "v"},
        "delivery_mode": 2, "priority": 9, "correlation_id": "c", "reply_to": "r",
        "expiration": "60000", "message_id": "m", "timestamp": 1234567890, "type": "t",
        "user_id": "guest", "app_id": "a", "cluster_id": "x"})


@behaviour("properties.empty-strings")
def _(t):
    return through(t, "m", {"content_type": "", "correlation_id": "", "message_id": ""})


@behaviour("properties.delivery-mode-values")
def _(t):
    return [through(t, "m", {"delivery_mode": mode}).args.get("text", "taken")
            for mode in (0, 1, 2, 3, 255)]


@behaviour("properties.empty-headers-table")
def _(t):
    return through(t, "m", {"headers": {}})


@behaviour("properties.headers-of-every-type")
def _(t):
    return through(t, "m", {"headers": {
        "t": True, "f": False, "b": V("b", -1), "B": V("B", 255), "s": V("s", -2),
        "u": V("u", 65535), "I": -3, "i": V("i", 2**32 - 1), "l": V("l", -2**60),
        "float": V("f", 1.5), "d": 2.25, "D": V("D", (2, 314)), "S": "text", "empty": "",
        "x": b"\x00\xff", "A": [1, "a", [True], {}], "T": V("T", 1), "F": {"in": {"in": 1}},
        "V": None, "unicode": "兎"}})


@behaviour("properties.header-order-kept")
def _(t):
    return list(through(t, "m", {"headers": {"z": 1, "a": 2, "m": 3}}).props["headers"])


@behaviour("properties.duplicate-header-keys")
def _(t):
    """Two entries with the same key, as bytes."""
    entry = b"\x01kI\x00\x00\x00"
    data = entry + b"\x01" + entry + b"\x02"
    return through(t, "m", {"headers": V("raw", len(data).to_bytes(4, "big") + data)})


@behaviour("properties.header-of-unknown-type")
def _(t):
    """An entry with a type letter nobody knows, as bytes."""
    data = b"\x01kZ\x00"
    return through(t, "m", {"headers": V("raw", len(data).to_bytes(4, "big") + data)})


@behaviour("properties.deeply-nested-headers")
def _(t):
    table = {}
    for _ in range(100):
        table = {"n": table}
    event = through(t, "m", {"headers": table})
    depth, inner = 0, (event.props or {}).get("headers", {})
    while inner:
        depth, inner = depth + 1, inner["n"]
    return [event.name, depth]
