"""Length limits, what overflows and how the publisher hears of it."""
from scene import behaviour


def filled(t, args, bodies, dead=False, **flags):
    """A queue with these arguments after confirmed publishes; (channel, confirms)."""
    chan = t.chan()
    if dead:
        chan.declare(t.name("dead"))
        args = dict(args, **{"x-dead-letter-exchange": "",
                             "x-dead-letter-routing-key": t.name("dead")})
    chan.declare(t.name("q"), args)
    chan.confirm()
    confirms = []
    for body in bodies:
        chan.publish("", t.name("q"), body, **flags)
        confirms.append(chan.next().name)
    return chan, confirms


@behaviour("maxlen.drop-head")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 3}, "abcde")
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen.drop-head-explicit")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 1, "x-overflow": "drop-head"}, "abc")
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen.drop-head-dead-letters")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 2}, "abcd", dead=True)
    return [confirms, chan.bodies(t.name("q")), chan.get_all(t.name("dead"))]


@behaviour("maxlen.reject-publish")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 2, "x-overflow": "reject-publish"}, "abcd")
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen.reject-publish-with-dlx-does-not-dead-letter")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 1, "x-overflow": "reject-publish"}, "ab", dead=True)
    return [confirms, chan.bodies(t.name("q")), chan.bodies(t.name("dead"))]


@behaviour("maxlen.reject-publish-dlx")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 1, "x-overflow": "reject-publish-dlx"}, "abc",
                            dead=True)
    return [confirms, chan.bodies(t.name("q")), chan.get_all(t.name("dead"))]


@behaviour("maxlen.reject-publish-without-confirms")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length": 1, "x-overflow": "reject-publish"})
    for body in "abc":
        chan.publish("", t.name("q"), body)
    return [chan.bodies(t.name("q")), chan.quiet(0.1)]


@behaviour("maxlen.reject-publish-mandatory")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 1, "x-overflow": "reject-publish"}, "ab",
                            mandatory=True)
    return [confirms, chan.quiet(0.1)]


@behaviour("maxlen.reject-publish-one-of-two-queues")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "fanout")
    chan.declare(t.name("full"), {"x-max-length": 1, "x-overflow": "reject-publish"})
    chan.declare(t.name("free"))
    for queue in ("full", "free"):
        chan.bind(t.name(queue), t.name("x"))
    chan.confirm()
    confirms = []
    for body in "ab":
        chan.publish(t.name("x"), "", body)
        confirms.append(chan.next())
    return [confirms, chan.bodies(t.name("full")), chan.bodies(t.name("free"))]


@behaviour("maxlen.zero-drop-head")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 0}, "ab")
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen.zero-drop-head-with-consumer")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length": 0})
    chan.consume(t.name("q"), no_ack=True)
    chan.publish("", t.name("q"), "direct")
    return chan.quiet(0.3)


@behaviour("maxlen.zero-reject-publish")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 0, "x-overflow": "reject-publish"}, "ab")
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen.counts-ready-only")
def _(t):
    chan, confirms = filled(t, {"x-max-length": 2}, "ab")
    for _ in range(2):
        chan.get(t.name("q"), no_ack=False)
    for body in "cd":
        chan.publish("", t.name("q"), body)
        confirms.append(chan.next().name)
    return [confirms, chan.depth(t.name("q"))]


@behaviour("maxlen.requeue-over-limit-drops-head")
def _(t):
    chan, _ = filled(t, {"x-max-length": 2}, "ab")
    got = chan.get(t.name("q"), no_ack=False)
    chan.publish("", t.name("q"), "c")
    chan.next()
    chan.send("basic.nack", tag=got.tag, requeue=True)
    chan.alive()
    return chan.bodies(t.name("q"))


@behaviour("maxlen-bytes.drop-head")
def _(t):
    chan, confirms = filled(t, {"x-max-length-bytes": 10}, ["aaaa", "bbbb", "cccc"])
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen-bytes.single-too-large")
def _(t):
    chan, confirms = filled(t, {"x-max-length-bytes": 3}, ["aaaa"])
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen-bytes.reject-publish")
def _(t):
    chan, confirms = filled(t, {"x-max-length-bytes": 8, "x-overflow": "reject-publish"},
                            ["aaaa", "bbbb", "cccc", "d"])
    return [confirms, chan.bodies(t.name("q"))]


@behaviour("maxlen-bytes.properties-do-not-count")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length-bytes": 8})
    for body in ("aaaa", "bbbb"):
        chan.publish("", t.name("q"), body, {"headers": {"long": "x" * 100}})
    return len(chan.get_all(t.name("q")))


@behaviour("maxlen.priority-queue-which-goes")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length": 2, "x-max-priority": 5})
    for priority in (1, 5, 3):
        chan.publish("", t.name("q"), str(priority), {"priority": priority})
    return chan.bodies(t.name("q"))


@behaviour("maxlen.and-bytes-first-limit-wins")
def _(t):
    chan, _ = filled(t, {"x-max-length": 5, "x-max-length-bytes": 3}, "abcde")
    return chan.bodies(t.name("q"))
