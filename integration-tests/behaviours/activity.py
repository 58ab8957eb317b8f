"""Who is served: single active consumer, consumer priorities, message priorities."""
from scene import behaviour


def sac(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-single-active-consumer": True})
    return chan


def bodies(events):
    return [f"{e.consumer_tag}:{e.body.decode()}" if e.name == "basic.deliver" else e
            for e in events]


@behaviour("sac.only-first-is-served")
def _(t):
    chan = sac(t)
    for tag in ("one", "two"):
        chan.consume(t.name("q"), tag, no_ack=True)
    for body in "abc":
        chan.publish("", t.name("q"), body)
    return bodies(chan.collect(3))


@behaviour("sac.next-takes-over-on-cancel")
def _(t):
    chan = sac(t)
    for tag in ("one", "two", "three"):
        chan.consume(t.name("q"), tag, no_ack=True)
    chan.call("basic.cancel", consumer_tag="one")
    chan.publish("", t.name("q"), "a")
    second = chan.next()
    chan.call("basic.cancel", consumer_tag="two")
    chan.publish("", t.name("q"), "b")
    return bodies([second, chan.next()])


@behaviour("sac.takes-over-on-connection-end-with-unacked")
def _(t):
    conn, chan = t.conn(), sac(t)
    first = t.chan(conn)
    first.consume(t.name("q"), "one")
    chan.consume(t.name("q"), "two", no_ack=True)
    for body in "ab":
        chan.publish("", t.name("q"), body)
    got = first.collect(2)
    conn.close()
    return [bodies(got), chan.collect(2)]


@behaviour("sac.get")
def _(t):
    chan = sac(t)
    chan.publish("", t.name("q"))
    return chan.get(t.name("q"))


@behaviour("sac.exclusive-consumer")
def _(t):
    return sac(t).consume(t.name("q"), exclusive=True)


@behaviour("sac.exclusive-queue-allowed")
def _(t):
    chan = t.chan()
    return chan.declare(t.name("q"), {"x-single-active-consumer": True}, exclusive=True)


@behaviour("sac.priority-does-not-take-over")
def _(t):
    chan = sac(t)
    chan.consume(t.name("q"), "low", no_ack=True)
    chan.consume(t.name("q"), "high", no_ack=True, args={"x-priority": 10})
    chan.publish("", t.name("q"), "a")
    return bodies([chan.next()])


@behaviour("consumer-priority.higher-first")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.call("basic.qos", prefetch_count=2)
    chan.consume(t.name("q"), "low", args={"x-priority": -1})
    chan.consume(t.name("q"), "high", args={"x-priority": 10})
    chan.consume(t.name("q"), "none")
    for body in "abcdef":
        chan.publish("", t.name("q"), body)
    return bodies(chan.collect(6))


@behaviour("consumer-priority.falls-back-when-full")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.call("basic.qos", prefetch_count=1)
    chan.consume(t.name("q"), "high", args={"x-priority": 5})
    chan.consume(t.name("q"), "low", args={"x-priority": 1})
    for body in "abc":
        chan.publish("", t.name("q"), body)
    first = chan.collect(2)
    high = [e for e in first if e.args.get("consumer_tag") == "high"]
    for event in high:
        chan.send("basic.ack", tag=event.tag)
    return bodies(first + [chan.next()])


@behaviour("priority.order")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-priority": 5})
    for body, props in (("1", {"priority": 1}), ("none", {}), ("5", {"priority": 5}),
                        ("3", {"priority": 3}), ("5b", {"priority": 5}), ("0", {"priority": 0})):
        chan.publish("", t.name("q"), body, props)
    return chan.bodies(t.name("q"))


@behaviour("priority.above-maximum-is-maximum")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-priority": 5})
    for priority in (5, 200, 4, 6):
        chan.publish("", t.name("q"), str(priority), {"priority": priority})
    return chan.bodies(t.name("q"))


@behaviour("priority.property-kept-as-sent")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-priority": 2})
    chan.publish("", t.name("q"), "m", {"priority": 200})
    return chan.get(t.name("q"))


@behaviour("priority.ignored-without-argument")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    for priority in (1, 9, 5):
        chan.publish("", t.name("q"), str(priority), {"priority": priority})
    return chan.bodies(t.name("q"))


@behaviour("priority.requeue-keeps-place")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-priority": 5})
    for body, priority in (("5a", 5), ("5b", 5), ("1", 1)):
        chan.publish("", t.name("q"), body, {"priority": priority})
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.nack", tag=got.tag, requeue=True)
    return chan.bodies(t.name("q"))


@behaviour("priority.zero-maximum")
def _(t):
    chan = t.chan()
    declared = chan.declare(t.name("q"), {"x-max-priority": 0})
    for priority in (1, 9):
        chan.publish("", t.name("q"), str(priority), {"priority": priority})
    return [declared, chan.bodies(t.name("q"))]
