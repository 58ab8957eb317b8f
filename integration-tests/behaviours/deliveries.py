"""After the delivery: ack, nack, reject, recover, get, order and flags."""
from scene import behaviour


def stocked(t, bodies, got=0):
    """A queue with messages, `got` of them taken without ack."""
    chan = t.chan()
    chan.declare(t.name("q"))
    for body in bodies:
        chan.publish("", t.name("q"), body)
    return chan, [chan.get(t.name("q"), no_ack=False) for _ in range(got)]


def flags(events):
    return [f"{e.body.decode()} redelivered={str(e.redelivered).lower()}"
            if e.body is not None else e for e in events]


@behaviour("get.empty")
def _(t):
    return stocked(t, "")[0].get(t.name("q"))


@behaviour("get.count-of-the-rest")
def _(t):
    chan, got = stocked(t, "abc", 3)
    return got


@behaviour("get.missing-queue")
def _(t):
    return t.chan().get(t.name("q"))


@behaviour("ack.tags-count-per-channel")
def _(t):
    conn = t.conn()
    one, two = t.chan(conn, 1), t.chan(conn, 2)
    one.declare(t.name("q"))
    for body in "abcd":
        one.publish("", t.name("q"), body)
    one.alive()
    return [c.get(t.name("q"), no_ack=False).tag for c in (one, two, one, two)]


@behaviour("ack.no-ack-deliveries-use-tags-too")
def _(t):
    chan, _ = stocked(t, "ab")
    return [chan.get(t.name("q"), no_ack=True).tag, chan.get(t.name("q"), no_ack=False).tag]


@behaviour("ack.twice")
def _(t):
    chan, got = stocked(t, "a", 1)
    chan.send("basic.ack", tag=1)
    chan.send("basic.ack", tag=1)
    return chan.next()


for _method in ("basic.ack", "basic.nack", "basic.reject"):
    @behaviour("unknown-tag." + _method)
    def _(t, method=_method):
        chan = t.chan()
        chan.send(method, tag=7)
        return chan.next()

for _method in ("basic.ack", "basic.nack"):
    @behaviour("unknown-tag.multiple-" + _method)
    def _(t, method=_method):
        chan = t.chan()
        chan.send(method, tag=7, multiple=True)
        return chan.next()

    @behaviour("tag-zero.multiple-" + _method)
    def _(t, method=_method):
        """Tag 0 with multiple: everything that is outstanding."""
        chan, _ = stocked(t, "abc", 2)
        chan.send(method, tag=0, multiple=True)
        return [chan.alive(), chan.depth(t.name("q"))]

    @behaviour("tag-zero.multiple-nothing-outstanding-" + _method)
    def _(t, method=_method):
        chan = t.chan()
        chan.send(method, tag=0, multiple=True)
        return chan.alive()

    @behaviour("tag-zero.single-" + _method)
    def _(t, method=_method):
        chan, _ = stocked(t, "a", 1)
        chan.send(method, tag=0)
        return chan.next()


@behaviour("ack.of-no-ack-delivery")
def _(t):
    chan, _ = stocked(t, "a")
    chan.get(t.name("q"), no_ack=True)
    chan.send("basic.ack", tag=1)
    return chan.next()


@behaviour("ack.on-other-channel")
def _(t):
    chan, _ = stocked(t, "a", 1)
    other = t.chan(chan.conn, 2)
    other.send("basic.ack", tag=1)
    return other.next()


@behaviour("ack.multiple-leaves-later-ones")
def _(t):
    chan, _ = stocked(t, "abcd", 4)
    chan.send("basic.ack", tag=2, multiple=True)
    chan.send("basic.nack", tag=0, multiple=True, requeue=True)
    chan.await_depth(t.name("q"), 2)
    return flags(chan.get_all(t.name("q")))


@behaviour("ack.multiple-with-known-hole")
def _(t):
    """Tag 2 acked already, then multiple up to 3."""
    chan, _ = stocked(t, "abc", 3)
    chan.send("basic.ack", tag=2)
    chan.send("basic.ack", tag=3, multiple=True)
    return [chan.alive(), chan.depth(t.name("q"))]


@behaviour("ack.multiple-up-to-acked-tag")
def _(t):
    chan, _ = stocked(t, "abc", 3)
    chan.send("basic.ack", tag=2)
    chan.send("basic.ack", tag=2, multiple=True)
    return chan.alive()


@behaviour("nack.requeue-order")
def _(t):
    chan, _ = stocked(t, "abcd", 2)
    chan.send("basic.nack", tag=2, multiple=True, requeue=True)
    chan.await_depth(t.name("q"), 4)
    return flags(chan.get_all(t.name("q")))


@behaviour("nack.requeue-middle-goes-back-to-its-place")
def _(t):
    chan, _ = stocked(t, "abcd", 3)
    chan.send("basic.nack", tag=2, requeue=True)
    chan.send("basic.nack", tag=1, requeue=True)
    chan.send("basic.nack", tag=3, requeue=True)
    chan.await_depth(t.name("q"), 4)
    return flags(chan.get_all(t.name("q")))


@behaviour("nack.no-requeue-drops")
def _(t):
    chan, _ = stocked(t, "ab", 1)
    chan.send("basic.nack", tag=1)
    return [chan.alive(), chan.bodies(t.name("q"))]


@behaviour("reject.requeue")
def _(t):
    chan, _ = stocked(t, "ab", 1)
    chan.send("basic.reject", tag=1, requeue=True)
    chan.await_depth(t.name("q"), 2)
    return flags(chan.get_all(t.name("q")))


@behaviour("reject.no-requeue-drops")
def _(t):
    chan, _ = stocked(t, "ab", 1)
    chan.send("basic.reject", tag=1)
    return [chan.alive(), chan.bodies(t.name("q"))]


@behaviour("reject.requeue-to-the-only-consumer")
def _(t):
    chan, _ = stocked(t, "a")
    chan.consume(t.name("q"))
    seen = []
    for _ in range(3):
        event = chan.next()
        seen.append(event)
        chan.send("basic.reject", tag=event.tag, requeue=True)
    return seen


@behaviour("recover.requeue")
def _(t):
    chan, _ = stocked(t, "abc", 2)
    answer = chan.call("basic.recover", requeue=True)
    chan.await_depth(t.name("q"), 3)
    return [answer, flags(chan.get_all(t.name("q")))]


@behaviour("recover.no-requeue")
def _(t):
    chan, _ = stocked(t, "a", 1)
    return chan.call("basic.recover", requeue=False)


@behaviour("recover.nothing-outstanding")
def _(t):
    return t.chan().call("basic.recover", requeue=True)


@behaviour("recover.async")
def _(t):
    chan, _ = stocked(t, "ab", 2)
    chan.send("basic.recover-async", requeue=True)
    chan.await_depth(t.name("q"), 2)
    return [chan.quiet(0.1), flags(chan.get_all(t.name("q")))]


@behaviour("recover.async-no-requeue")
def _(t):
    chan = t.chan()
    chan.send("basic.recover-async", requeue=False)
    return chan.next()


@behaviour("recover.with-consumer")
def _(t):
    chan, _ = stocked(t, "ab")
    chan.consume(t.name("q"))
    first = chan.collect(2)
    chan.send("basic.recover", requeue=True)
    return [flags(first), sorted(e.name for e in chan.collect(3))]


@behaviour("redelivered.after-connection-end")
def _(t):
    chan, _ = stocked(t, "ab", 1)
    other = t.chan()
    chan.conn.close()
    other.await_depth(t.name("q"), 2)
    return flags(other.get_all(t.name("q")))


@behaviour("redelivered.not-for-purged-prefetch")
def _(t):
    """Delivered to a consumer but not acked, then cancelled and recovered."""
    chan, _ = stocked(t, "abc")
    chan.call("basic.qos", prefetch_count=2)
    chan.consume(t.name("q"))
    chan.collect(2)
    chan.call("basic.cancel", consumer_tag="c")
    chan.call("basic.recover", requeue=True)
    chan.await_depth(t.name("q"), 3)
    return flags(chan.get_all(t.name("q")))


@behaviour("order.thousand-in-order")
def _(t):
    chan, _ = stocked(t, "")
    chan.consume(t.name("q"), no_ack=True)
    for n in range(1000):
        chan.publish("", t.name("q"), str(n))
    got = [int(e.body or -1) for e in chan.collect(1000)]
    return got == list(range(1000))
