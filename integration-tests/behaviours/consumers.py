"""Consuming: tags, cancelling, exclusivity, prefetch."""
from scene import behaviour


def stocked(t, bodies="", args=None, **flags):
    chan = t.chan()
    chan.declare(t.name("q"), args, **flags)
    for body in bodies:
        chan.publish("", t.name("q"), body)
    return chan


def tags_and_bodies(events):
    return [f"{e.consumer_tag}:{e.body.decode()}" if e.name == "basic.deliver" else e
            for e in events]


@behaviour("consume.consume-ok-before-deliveries")
def _(t):
    chan = stocked(t, "ab")
    chan.send("basic.consume", queue=t.name("q"), consumer_tag="c", no_ack=True)
    return chan.collect(3)


@behaviour("consume.generated-tag")
def _(t):
    return stocked(t).consume(t.name("q"), "")


@behaviour("consume.duplicate-tag")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"), "same")
    return chan.consume(t.name("q"), "same")


@behaviour("consume.same-tag-other-channel")
def _(t):
    conn = t.conn()
    one, two = t.chan(conn, 1), t.chan(conn, 2)
    one.declare(t.name("q"))
    return [one.consume(t.name("q"), "same"), two.consume(t.name("q"), "same")]


@behaviour("consume.tag-free-after-cancel")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"), "same")
    chan.call("basic.cancel", consumer_tag="same")
    return chan.consume(t.name("q"), "same")


@behaviour("consume.missing-queue")
def _(t):
    return t.chan().consume(t.name("q"))


@behaviour("consume.no-wait")
def _(t):
    chan = stocked(t, "a")
    chan.send("basic.consume", queue=t.name("q"), consumer_tag="c", no_ack=True, nowait=True)
    return chan.next()


@behaviour("consume.no-wait-empty-tag")
def _(t):
    chan = stocked(t, "a")
    chan.send("basic.consume", queue=t.name("q"), consumer_tag="", no_ack=True, nowait=True)
    return chan.next()


@behaviour("consume.no-local-ignored")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"), no_ack=True, no_local=True)
    chan.publish("", t.name("q"), "from myself")
    return chan.next()


@behaviour("consume.exclusive-second-consumer")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"), "one", exclusive=True)
    return chan.consume(t.name("q"), "two")


@behaviour("consume.exclusive-after-other-consumer")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"), "one")
    return chan.consume(t.name("q"), "two", exclusive=True)


@behaviour("consume.exclusive-from-other-connection")
def _(t):
    chan, other = stocked(t), t.chan()
    chan.consume(t.name("q"), "one", exclusive=True)
    return [other.consume(t.name("q"), "two"), chan.alive()]


@behaviour("consume.exclusive-get-still-allowed")
def _(t):
    chan, other = stocked(t), t.chan()
    chan.call("basic.qos", prefetch_count=1)
    chan.consume(t.name("q"), "one", exclusive=True)
    for body in "ab":
        chan.publish("", t.name("q"), body)
    return [chan.next(), other.get(t.name("q"))]


@behaviour("consume.exclusive-free-after-cancel")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"), "one", exclusive=True)
    chan.call("basic.cancel", consumer_tag="one")
    return chan.consume(t.name("q"), "two", exclusive=True)


@behaviour("consume.round-robin")
def _(t):
    chan = stocked(t)
    for tag in ("one", "two", "three"):
        chan.consume(t.name("q"), tag, no_ack=True)
    for body in "abcdef":
        chan.publish("", t.name("q"), body)
    return tags_and_bodies(chan.collect(6))


@behaviour("cancel.cancel-ok")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"))
    return [chan.call("basic.cancel", consumer_tag="c"), chan.depth(t.name("q"))]


@behaviour("cancel.unknown-tag")
def _(t):
    return t.chan().call("basic.cancel", consumer_tag="none")


@behaviour("cancel.no-wait")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"))
    chan.send("basic.cancel", consumer_tag="c", nowait=True)
    return [chan.alive(), chan.depth(t.name("q")), chan.quiet(0.1)]


@behaviour("cancel.unacked-stay-until-channel-ends")
def _(t):
    chan = stocked(t, "ab")
    chan.consume(t.name("q"))
    got = chan.collect(2)
    chan.call("basic.cancel", consumer_tag="c")
    before = chan.depth(t.name("q"))
    chan.send("basic.ack", tag=got[1].tag, multiple=True)
    return [before, chan.alive(), chan.depth(t.name("q"))]


@behaviour("cancel.notify-on-queue-delete")
def _(t):
    chan, other = stocked(t), t.chan()
    chan.consume(t.name("q"))
    other.call("queue.delete", queue=t.name("q"))
    return chan.next()


@behaviour("cancel.notify-each-consumer")
def _(t):
    chan, other = stocked(t), t.chan()
    for tag in ("one", "two"):
        chan.consume(t.name("q"), tag)
    other.call("queue.delete", queue=t.name("q"))
    return sorted(e.args.get("consumer_tag", e.name) for e in chan.collect(2))


@behaviour("cancel.no-notify-without-capability")
def _(t):
    chan, other = t.chan(t.conn(capabilities={})), t.chan()
    chan.declare(t.name("q"))
    chan.consume(t.name("q"))
    other.call("queue.delete", queue=t.name("q"))
    return [chan.quiet(0.4), chan.alive()]


@behaviour("cancel.client-answers-with-cancel-ok")
def _(t):
    chan, other = stocked(t), t.chan()
    chan.consume(t.name("q"))
    other.call("queue.delete", queue=t.name("q"))
    chan.next()
    chan.send("basic.cancel-ok", consumer_tag="c")
    return chan.alive()


@behaviour("cancel.ack-after-queue-delete")
def _(t):
    chan = stocked(t, "a")
    got = chan.get(t.name("q"), no_ack=False)
    chan.call("queue.delete", queue=t.name("q"))
    chan.send("basic.ack", tag=got.tag)
    return chan.alive()


@behaviour("cancel.own-delete-notifies-too")
def _(t):
    chan = stocked(t)
    chan.consume(t.name("q"))
    chan.send("queue.delete", queue=t.name("q"))
    return sorted(e.name for e in chan.collect(2))


@behaviour("qos.per-consumer")
def _(t):
    chan = stocked(t)
    chan.call("basic.qos", prefetch_count=2)
    for tag in ("one", "two"):
        chan.consume(t.name("q"), tag)
    for body in "abcdef":
        chan.publish("", t.name("q"), body)
    return [tags_and_bodies(chan.collect(4)), tags_and_bodies(chan.quiet())]


@behaviour("qos.global-over-consumers")
def _(t):
    chan = stocked(t)
    chan.call("basic.qos", prefetch_count=3, is_global=True)
    for tag in ("one", "two"):
        chan.consume(t.name("q"), tag)
    for body in "abcdef":
        chan.publish("", t.name("q"), body)
    first = chan.collect(3)
    more = chan.quiet()
    chan.send("basic.ack", tag=first[0].tag)
    return [len(first), len(more), len(chan.quiet())]


@behaviour("qos.both-limits")
def _(t):
    chan = stocked(t)
    chan.call("basic.qos", prefetch_count=2)
    chan.call("basic.qos", prefetch_count=3, is_global=True)
    for tag in ("one", "two"):
        chan.consume(t.name("q"), tag)
    for body in "abcdef":
        chan.publish("", t.name("q"), body)
    return len(chan.quiet(0.4))


@behaviour("qos.does-not-change-running-consumer")
def _(t):
    chan = stocked(t)
    chan.call("basic.qos", prefetch_count=1)
    chan.consume(t.name("q"))
    chan.call("basic.qos", prefetch_count=5)
    for body in "abc":
        chan.publish("", t.name("q"), body)
    return len(chan.quiet(0.4))


@behaviour("qos.global-changes-at-once")
def _(t):
    chan = stocked(t, "abcde")
    chan.call("basic.qos", prefetch_count=1, is_global=True)
    chan.consume(t.name("q"))
    first = len(chan.quiet())
    chan.call("basic.qos", prefetch_count=4, is_global=True)
    second = len(chan.quiet())
    chan.call("basic.qos", prefetch_count=0, is_global=True)
    return [first, second, len(chan.quiet())]


@behaviour("qos.no-ack-not-limited")
def _(t):
    chan = stocked(t, "abc")
    chan.call("basic.qos", prefetch_count=1)
    chan.consume(t.name("q"), no_ack=True)
    return len(chan.quiet())


@behaviour("qos.get-not-limited")
def _(t):
    chan = stocked(t, "abc")
    chan.call("basic.qos", prefetch_count=1, is_global=True)
    return [chan.get(t.name("q"), no_ack=False).name for _ in range(3)]


@behaviour("qos.got-messages-count-for-global")
def _(t):
    chan = stocked(t, "abc")
    chan.call("basic.qos", prefetch_count=1, is_global=True)
    chan.get(t.name("q"), no_ack=False)
    chan.consume(t.name("q"))
    return len(chan.quiet())


@behaviour("qos.prefetch-size")
def _(t):
    return t.chan().call("basic.qos", prefetch_size=10)


@behaviour("qos.refill-after-ack")
def _(t):
    chan = stocked(t, "abc")
    chan.call("basic.qos", prefetch_count=1)
    chan.consume(t.name("q"))
    seen = []
    for _ in range(3):
        event = chan.next()
        seen.append(event.body.decode())
        chan.send("basic.ack", tag=event.tag)
    return seen


@behaviour("qos.refill-after-multiple-ack")
def _(t):
    chan = stocked(t, "abcdef")
    chan.call("basic.qos", prefetch_count=3)
    chan.consume(t.name("q"))
    first = chan.collect(3)
    chan.send("basic.ack", tag=first[2].tag, multiple=True)
    return tags_and_bodies(first + chan.collect(3))
