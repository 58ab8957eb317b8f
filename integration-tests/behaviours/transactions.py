"""tx: publishes and acks take effect on commit."""
from scene import behaviour


def in_tx(t, bodies=""):
    """A channel in tx mode and another one to look from outside."""
    chan, other = t.chan(), t.chan()
    other.declare(t.name("q"))
    for body in bodies:
        other.publish("", t.name("q"), body)
    other.alive()
    chan.call("tx.select")
    return chan, other


@behaviour("tx.select-twice")
def _(t):
    chan = t.chan()
    return [chan.call("tx.select"), chan.call("tx.select")]


for _method in ("tx.commit", "tx.rollback"):
    @behaviour(_method + "-without-select")
    def _(t, method=_method):
        return t.chan().call(method)


@behaviour("tx.publish-unseen-until-commit")
def _(t):
    chan, other = in_tx(t)
    chan.publish("", t.name("q"), "m")
    chan.alive()
    before = other.depth(t.name("q"))
    answer = chan.call("tx.commit")
    return [before, answer, other.bodies(t.name("q"))]


@behaviour("tx.rollback-forgets-publishes")
def _(t):
    chan, other = in_tx(t)
    chan.publish("", t.name("q"), "m")
    answer = chan.call("tx.rollback")
    chan.call("tx.commit")
    return [answer, other.bodies(t.name("q"))]


@behaviour("tx.ack-counts-on-commit")
def _(t):
    chan, other = in_tx(t, "a")
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.ack", tag=got.tag)
    chan.call("tx.commit")
    chan.conn.close()
    return other.await_depth(t.name("q"), 0)


@behaviour("tx.ack-rolled-back-can-be-acked-again")
def _(t):
    chan, other = in_tx(t, "a")
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.ack", tag=got.tag)
    chan.call("tx.rollback")
    chan.send("basic.ack", tag=got.tag)
    answer = chan.call("tx.commit")
    chan.conn.close()
    return [answer, other.depth(t.name("q"))]


@behaviour("tx.ack-not-committed-returns-on-close")
def _(t):
    chan, other = in_tx(t, "a")
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.ack", tag=got.tag)
    chan.alive()
    chan.conn.close()
    other.await_depth(t.name("q"), 1)
    return other.get(t.name("q"))


@behaviour("tx.nack-requeue-on-commit")
def _(t):
    chan, other = in_tx(t, "a")
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.nack", tag=got.tag, requeue=True)
    chan.alive()
    before = other.depth(t.name("q"))
    chan.call("tx.commit")
    return [before, other.await_depth(t.name("q"), 1)]


@behaviour("tx.double-ack-in-one-transaction")
def _(t):
    chan, _ = in_tx(t, "a")
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.ack", tag=got.tag)
    chan.send("basic.ack", tag=got.tag)
    return chan.next()


@behaviour("tx.unknown-tag-at-once")
def _(t):
    chan, _ = in_tx(t)
    chan.send("basic.ack", tag=99)
    return chan.next()


@behaviour("tx.mandatory-returned-when")
def _(t):
    chan, _ = in_tx(t)
    chan.publish("", t.name("none"), "m", mandatory=True)
    before = chan.quiet()
    chan.send("tx.commit")
    return [before, chan.collect(2)]


@behaviour("tx.missing-exchange-at-once")
def _(t):
    chan, other = in_tx(t)
    chan.publish("", t.name("q"), "first")
    chan.publish(t.name("x"), "k")
    return [chan.next(), other.depth(t.name("q"))]


@behaviour("tx.over-several-queues")
def _(t):
    chan, other = in_tx(t)
    other.declare(t.name("r"))
    for name in ("q", "r", "q"):
        chan.publish("", t.name(name), name)
    chan.call("tx.commit")
    return [other.bodies(t.name("q")), other.bodies(t.name("r"))]


@behaviour("tx.declare-is-outside")
def _(t):
    chan, other = in_tx(t)
    chan.declare(t.name("new"))
    chan.call("tx.rollback")
    return other.declare(t.name("new"), passive=True)


@behaviour("tx.channel-close-rolls-back")
def _(t):
    chan, other = in_tx(t)
    chan.publish("", t.name("q"), "m")
    chan.call("channel.close", code=200, text="bye")
    return other.depth(t.name("q"))


@behaviour("tx.commit-empty")
def _(t):
    return in_tx(t)[0].call("tx.commit")
