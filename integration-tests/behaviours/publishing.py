"""Publishing: confirms, returns, and what a publisher may not ask."""
from scene import behaviour


def confirming(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.confirm()
    return chan


@behaviour("confirm.select")
def _(t):
    return t.chan().confirm()


@behaviour("confirm.select-twice")
def _(t):
    chan = t.chan()
    return [chan.confirm(), chan.confirm()]


@behaviour("confirm.select-no-wait")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.send("confirm.select", nowait=True)
    chan.publish("", t.name("q"))
    return chan.next()


@behaviour("confirm.first-tag-is-one")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), "before")
    chan.confirm()
    chan.publish("", t.name("q"))
    return chan.next()


@behaviour("confirm.second-select-keeps-count")
def _(t):
    chan = confirming(t)
    chan.publish("", t.name("q"))
    first = chan.next()
    chan.confirm()
    chan.publish("", t.name("q"))
    return [first, chan.next()]


@behaviour("confirm.thousand-all-confirmed")
def _(t):
    chan, sure = confirming(t), set()
    for _ in range(1000):
        chan.publish("", t.name("q"))
    while len(sure) < 1000:
        event = chan.next()
        if event.name != "basic.ack":
            return [len(sure), event]
        sure |= set(range(1, event.tag + 1)) if event.multiple else {event.tag}
    return [len(sure), max(sure)]


@behaviour("confirm.persistent-durable")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), durable=True)
    chan.confirm()
    chan.publish("", t.name("q"), "m", {"delivery_mode": 2})
    return chan.next()


@behaviour("confirm.unroutable")
def _(t):
    chan = confirming(t)
    chan.publish("", t.name("none"))
    return chan.next()


@behaviour("confirm.unroutable-mandatory-return-first")
def _(t):
    chan = confirming(t)
    chan.publish("", t.name("none"), "m", {"message_id": "7"}, mandatory=True)
    return chan.collect(2)


@behaviour("confirm.missing-exchange-closes-without-ack")
def _(t):
    chan = confirming(t)
    chan.publish("", t.name("q"))
    first = chan.next()
    chan.publish(t.name("x"), "k")
    return [first, chan.next()]


@behaviour("confirm.not-with-tx")
def _(t):
    chan = t.chan()
    chan.confirm()
    return chan.call("tx.select")


@behaviour("confirm.not-after-tx")
def _(t):
    chan = t.chan()
    chan.call("tx.select")
    return chan.confirm()


@behaviour("confirm.before-delivery-to-own-consumer-both-come")
def _(t):
    chan = confirming(t)
    chan.consume(t.name("q"), no_ack=True)
    chan.publish("", t.name("q"))
    return sorted(e.name for e in chan.collect(2))


@behaviour("mandatory.return")
def _(t):
    chan = t.chan()
    chan.publish("", t.name("none"), "body", {"headers": {"a": 1}, "content_type": "text/plain"},
                 mandatory=True)
    return chan.next()


@behaviour("mandatory.return-from-named-exchange")
def _(t):
    chan = t.chan()
    chan.publish("amq.topic", "no.such.key", "", mandatory=True)
    return chan.next()


@behaviour("mandatory.routed-no-return")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), mandatory=True)
    return [chan.alive(), chan.quiet(0.1)]


@behaviour("mandatory.return-loses-bcc")
def _(t):
    chan = t.chan()
    chan.publish("", t.name("none"), "m", {"headers": {"CC": ["x"], "BCC": ["y"]}}, mandatory=True)
    return chan.next()


@behaviour("immediate")
def _(t):
    chan = t.chan()
    chan.publish("", t.name("q"), immediate=True)
    return chan.next()


@behaviour("immediate.with-mandatory")
def _(t):
    chan = t.chan()
    chan.publish("", t.name("q"), immediate=True, mandatory=True)
    return chan.next()


@behaviour("publish.to-deleted-queue-is-silent")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.call("queue.delete", queue=t.name("q"))
    chan.publish("", t.name("q"))
    return chan.alive()


@behaviour("publish.errors-come-after-earlier-publishes-count")
def _(t):
    chan, other = t.chan(), t.chan()
    chan.declare(t.name("q"))
    for _ in range(5):
        chan.publish("", t.name("q"))
    chan.publish(t.name("x"), "k")
    chan.publish("", t.name("q"), "too late")
    return [chan.next(), other.await_depth(t.name("q"), 5)]


@behaviour("publish.cluster-id")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), "m", {"cluster_id": "somewhere"})
    return chan.get(t.name("q"))
