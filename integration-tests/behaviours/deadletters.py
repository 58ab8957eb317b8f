"""Dead-lettering: reasons, headers, keys, repeated deaths and cycles."""
from scene import behaviour


def source(t, chan, key=True, **more):
    """A queue `q` that dead-letters to queue `dead` through the default exchange."""
    args = {"x-dead-letter-exchange": "", **more}
    if key:
        args["x-dead-letter-routing-key"] = t.name("dead")
    chan.declare(t.name("dead"))
    return chan.declare(t.name("q"), args)


def reject(t, chan, queue, requeue=False):
    got = chan.get(queue, no_ack=False)
    chan.send("basic.reject", tag=got.tag, requeue=requeue)
    return got


@behaviour("dlx.rejected")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"), "m", {"headers": {"mine": 1}, "message_id": "id"})
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.nacked")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"))
    chan.send("basic.nack", tag=chan.get(t.name("q"), no_ack=False).tag)
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.nacked-multiple-order")
def _(t):
    chan = t.chan()
    source(t, chan)
    for body in "abc":
        chan.publish("", t.name("q"), body)
        last = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.nack", tag=last.tag, multiple=True)
    chan.await_depth(t.name("dead"), 3)
    return chan.bodies(t.name("dead"))


@behaviour("dlx.requeued-is-not-dead")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"))
    reject(t, chan, t.name("q"), requeue=True)
    chan.await_depth(t.name("q"), 1)
    return [chan.depth(t.name("dead")), chan.get(t.name("q"))]


@behaviour("dlx.expired-by-queue")
def _(t):
    chan = t.chan()
    source(t, chan, **{"x-message-ttl": 50})
    chan.publish("", t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.expired-by-message")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"), "m", {"expiration": "50", "delivery_mode": 2})
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.rejected-with-expiration")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"), "m", {"expiration": "60000"})
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.maxlen")
def _(t):
    chan = t.chan()
    source(t, chan, **{"x-max-length": 1})
    for body in "ab":
        chan.publish("", t.name("q"), body)
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.keeps-routing-key")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"))
    chan.declare(t.name("dead"))
    chan.bind(t.name("dead"), t.name("x"), t.name("q"))
    chan.declare(t.name("q"), {"x-dead-letter-exchange": t.name("x")})
    chan.publish("", t.name("q"))
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.missing-exchange-drops")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-dead-letter-exchange": t.name("none")})
    chan.publish("", t.name("q"))
    reject(t, chan, t.name("q"))
    return [chan.alive(), chan.depth(t.name("q"))]


@behaviour("dlx.unroutable-drops")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-dead-letter-exchange": "amq.direct",
                               "x-dead-letter-routing-key": t.name("none")})
    chan.publish("", t.name("q"))
    reject(t, chan, t.name("q"))
    return [chan.alive(), chan.depth(t.name("q"))]


@behaviour("dlx.alternate-exchange-of-dlx-used")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("ae"), "fanout")
    chan.exchange(t.name("x"), args={"alternate-exchange": t.name("ae")})
    chan.declare(t.name("rest"))
    chan.bind(t.name("rest"), t.name("ae"))
    chan.declare(t.name("q"), {"x-dead-letter-exchange": t.name("x")})
    chan.publish("", t.name("q"), "lost")
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("rest"), 1)
    return chan.bodies(t.name("rest"))


@behaviour("dlx.internal-exchange-as-dlx")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "fanout", internal=True)
    chan.declare(t.name("dead"))
    chan.bind(t.name("dead"), t.name("x"))
    chan.declare(t.name("q"), {"x-dead-letter-exchange": t.name("x")})
    chan.publish("", t.name("q"), "m")
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.bodies(t.name("dead"))


@behaviour("dlx.same-queue-twice-counts")
def _(t):
    """Rejected, published again with its headers, rejected again: one entry, count 2."""
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"))
    for _ in range(2):
        reject(t, chan, t.name("q"))
        chan.await_depth(t.name("dead"), 1)
        dead = chan.get(t.name("dead"))
        chan.publish("", t.name("q"), "m", dead.props)
    return dead


@behaviour("dlx.two-queues-two-entries-newest-first")
def _(t):
    chan = t.chan()
    chan.declare(t.name("end"))
    chan.declare(t.name("b"), {"x-dead-letter-exchange": "", "x-message-ttl": 50,
                               "x-dead-letter-routing-key": t.name("end")})
    chan.declare(t.name("a"), {"x-dead-letter-exchange": "",
                               "x-dead-letter-routing-key": t.name("b")})
    chan.publish("", t.name("a"))
    reject(t, chan, t.name("a"))
    chan.await_depth(t.name("end"), 1)
    return chan.get(t.name("end"))


@behaviour("dlx.two-reasons-same-queue")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"), "m", {"expiration": "50"})
    chan.await_depth(t.name("dead"), 1)
    first = chan.get(t.name("dead"))
    chan.publish("", t.name("q"), "m", first.props)
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.cycle-without-reject-drops")
def _(t):
    chan = t.chan()
    for name, other in ("ab", "ba"):
        chan.declare(t.name(name), {"x-dead-letter-exchange": "", "x-message-ttl": 50,
                                    "x-dead-letter-routing-key": t.name(other)})
    chan.publish("", t.name("a"))
    chan.await_depth(t.name("a"), 0)
    seen = chan.quiet(0.5)
    return [seen, chan.depth(t.name("a")), chan.depth(t.name("b"))]


@behaviour("dlx.to-itself-by-ttl-drops")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-dead-letter-exchange": "", "x-message-ttl": 50})
    chan.publish("", t.name("q"))
    return chan.await_depth(t.name("q"), 0)


@behaviour("dlx.to-itself-by-reject-returns")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-dead-letter-exchange": ""})
    chan.publish("", t.name("q"))
    for _ in range(3):
        reject(t, chan, t.name("q"))
        chan.await_depth(t.name("q"), 1)
    return chan.get(t.name("q"))


@behaviour("dlx.cycle-with-reject-goes-on")
def _(t):
    """Work queue and delay queue: rejected from one, expired in the other, three times."""
    chan = t.chan()
    chan.declare(t.name("work"), {"x-dead-letter-exchange": "",
                                  "x-dead-letter-routing-key": t.name("wait")})
    chan.declare(t.name("wait"), {"x-dead-letter-exchange": "", "x-message-ttl": 50,
                                  "x-dead-letter-routing-key": t.name("work")})
    chan.publish("", t.name("work"))
    for _ in range(3):
        chan.await_depth(t.name("work"), 1)
        reject(t, chan, t.name("work"))
    chan.await_depth(t.name("work"), 1)
    return chan.get(t.name("work"))


@behaviour("dlx.cc-kept-without-own-key")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "topic")
    for name in ("one", "two"):
        chan.declare(t.name(name))
    chan.declare(t.name("q"), {"x-dead-letter-exchange": t.name("x")})
    chan.bind(t.name("one"), t.name("x"), t.name("q"))
    chan.bind(t.name("two"), t.name("x"), "copy")
    chan.publish("", t.name("q"), "m", {"headers": {"CC": ["copy"], "BCC": ["blind"]}})
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("two"), 1)
    return [chan.get(t.name("one")), chan.get(t.name("two"))]


@behaviour("dlx.cc-removed-with-own-key")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.declare(t.name("copy"))
    chan.publish("", t.name("q"), "m", {"headers": {"CC": [t.name("copy")]}})
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return [chan.get(t.name("dead")), len(chan.get_all(t.name("copy")))]


@behaviour("dlx.key-without-exchange-refused")
def _(t):
    return t.chan().declare(t.name("q"), {"x-dead-letter-routing-key": "k"})


@behaviour("dlx.queue-delete-and-purge-do-not-dead-letter")
def _(t):
    chan = t.chan()
    source(t, chan)
    for body in "ab":
        chan.publish("", t.name("q"), body)
    chan.call("queue.purge", queue=t.name("q"))
    chan.publish("", t.name("q"), "c")
    chan.call("queue.delete", queue=t.name("q"))
    return chan.depth(t.name("dead"))


@behaviour("dlx.publisher-sent-x-death-of-odd-type")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"), "m", {"headers": {"x-death": "odd"}})
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.ttl-zero")
def _(t):
    chan = t.chan()
    source(t, chan, **{"x-message-ttl": 0})
    chan.publish("", t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("dlx.user-id-survives")
def _(t):
    chan = t.chan()
    source(t, chan)
    chan.publish("", t.name("q"), "m", {"user_id": "guest", "priority": 3, "timestamp": 1234})
    reject(t, chan, t.name("q"))
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead")).props
