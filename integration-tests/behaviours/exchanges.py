"""Exchanges: declaring, deleting, and the refusals."""
from scene import behaviour


@behaviour("exchange.predeclared")
def _(t):
    chan, seen = t.chan(), {}
    for name, type in (("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic"),
                       ("amq.headers", "headers"), ("amq.match", "headers")):
        seen[name] = chan.exchange(name, type, durable=True)
    seen["amq.rabbitmq.trace"] = chan.exchange("amq.rabbitmq.trace", "topic", durable=True,
                                               internal=True)
    return seen


@behaviour("exchange.predeclared-as-transient")
def _(t):
    return t.chan().exchange("amq.direct", "direct")


@behaviour("exchange.declare-and-again")
def _(t):
    chan = t.chan()
    return [chan.exchange(t.name("x")), chan.exchange(t.name("x"))]


@behaviour("exchange.passive-missing")
def _(t):
    return t.chan().exchange(t.name("x"), passive=True)


@behaviour("exchange.passive-ignores-type")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "fanout")
    return chan.exchange(t.name("x"), "topic", passive=True, durable=True)


@behaviour("exchange.passive-empty-name")
def _(t):
    return t.chan().exchange("", passive=True)


@behaviour("exchange.declare-default")
def _(t):
    return t.chan().exchange("")


@behaviour("exchange.delete-default")
def _(t):
    return t.chan().call("exchange.delete", exchange="")


@behaviour("exchange.delete-system")
def _(t):
    return t.chan().call("exchange.delete", exchange="amq.direct")


@behaviour("exchange.delete-missing")
def _(t):
    return t.chan().call("exchange.delete", exchange=t.name("x"))


@behaviour("exchange.delete-missing-amq-name")
def _(t):
    return t.chan().call("exchange.delete", exchange="amq.beh-none")


@behaviour("exchange.reserved-prefix")
def _(t):
    return t.chan().exchange("amq.beh")


@behaviour("exchange.reserved-prefix-passive")
def _(t):
    return t.chan().exchange("amq.beh", passive=True)


@behaviour("exchange.prefix-amq-without-dot")
def _(t):
    t.names.append("amqbeh-" + t.run_id)
    return t.chan().exchange("amqbeh-" + t.run_id)


@behaviour("exchange.unknown-type")
def _(t):
    return t.chan().exchange(t.name("x"), "beh-odd")


@behaviour("exchange.unknown-type-existing-word")
def _(t):
    return t.chan().exchange(t.name("x"), "queue")


@behaviour("exchange.empty-type")
def _(t):
    return t.chan().exchange(t.name("x"), "")


@behaviour("exchange.type-upper-case")
def _(t):
    return t.chan().exchange(t.name("x"), "DIRECT")


for _name, _again in {
        "type": dict(type="fanout"), "durable": dict(durable=True),
        "auto-delete": dict(auto_delete=True), "internal": dict(internal=True),
        "alternate": dict(args={"alternate-exchange": "amq.direct"}),
        "unknown-argument": dict(args={"x-odd": 1})}.items():
    @behaviour("exchange.inequivalent-" + _name)
    def _(t, again=_again):
        chan = t.chan()
        chan.exchange(t.name("x"))
        return chan.exchange(t.name("x"), **again)


@behaviour("exchange.inequivalent-alternate-other")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), args={"alternate-exchange": "amq.direct"})
    return chan.exchange(t.name("x"), args={"alternate-exchange": "amq.fanout"})


@behaviour("exchange.inequivalent-alternate-gone")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), args={"alternate-exchange": "amq.direct"})
    return chan.exchange(t.name("x"))


@behaviour("exchange.alternate-wrong-type")
def _(t):
    return t.chan().exchange(t.name("x"), args={"alternate-exchange": 5})


@behaviour("exchange.alternate-missing-exchange")
def _(t):
    chan = t.chan()
    declared = chan.exchange(t.name("x"), args={"alternate-exchange": t.name("none")})
    chan.publish(t.name("x"), "k", mandatory=True)
    return [declared, chan.next()]


@behaviour("exchange.line-breaks-in-name")
def _(t):
    chan = t.chan()
    return [chan.exchange(t.name("x") + "\r\n"), chan.exchange(t.name("x"), passive=True)]


@behaviour("exchange.longest-name")
def _(t):
    name = ("beh-" + t.run_id).ljust(255, "x")
    t.names.append(name)
    return t.chan().exchange(name).name


@behaviour("exchange.delete-if-unused")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"))
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"))
    refused = chan.call("exchange.delete", exchange=t.name("x"), if_unused=True)
    chan.open()
    chan.call("queue.delete", queue=t.name("q"))
    return [refused, chan.call("exchange.delete", exchange=t.name("x"), if_unused=True)]


@behaviour("exchange.auto-delete-after-last-unbind")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), auto_delete=True)
    chan.declare(t.name("q"))
    before = chan.exchange(t.name("x"), passive=True)
    chan.bind(t.name("q"), t.name("x"), "a")
    chan.bind(t.name("q"), t.name("x"), "b")
    for key in "ab":
        chan.call("queue.unbind", queue=t.name("q"), exchange=t.name("x"), routing_key=key)
    return [before, chan.exchange(t.name("x"), passive=True)]


@behaviour("exchange.auto-delete-after-queue-delete")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), auto_delete=True)
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"))
    chan.call("queue.delete", queue=t.name("q"))
    return chan.exchange(t.name("x"), passive=True)


@behaviour("exchange.auto-delete-chain")
def _(t):
    """An auto-delete exchange bound to an auto-delete exchange: both go."""
    chan = t.chan()
    chan.exchange(t.name("a"), auto_delete=True)
    chan.exchange(t.name("b"), auto_delete=True)
    chan.declare(t.name("q"))
    chan.call("exchange.bind", destination=t.name("b"), source=t.name("a"))
    chan.bind(t.name("q"), t.name("b"))
    chan.call("queue.delete", queue=t.name("q"))
    first = chan.exchange(t.name("b"), passive=True)
    chan.open()
    return [first, chan.exchange(t.name("a"), passive=True)]


@behaviour("exchange.internal-publish")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), internal=True)
    chan.publish(t.name("x"), "k")
    return chan.next()


@behaviour("exchange.internal-through-another")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("in"), "fanout", internal=True)
    chan.exchange(t.name("out"), "fanout")
    chan.declare(t.name("q"))
    chan.call("exchange.bind", destination=t.name("in"), source=t.name("out"))
    chan.bind(t.name("q"), t.name("in"))
    chan.publish(t.name("out"), "k", "through")
    return chan.get_all(t.name("q"))


@behaviour("exchange.publish-missing")
def _(t):
    chan = t.chan()
    chan.publish(t.name("x"), "k")
    return chan.next()


@behaviour("exchange.declare-no-wait")
def _(t):
    chan = t.chan()
    chan.send("exchange.declare", exchange=t.name("x"), type="direct", nowait=True)
    return [chan.exchange(t.name("x"), passive=True), chan.quiet(0.1)]


@behaviour("exchange.declare-no-wait-error")
def _(t):
    chan = t.chan()
    chan.send("exchange.declare", exchange=t.name("x"), type="odd", nowait=True)
    return chan.next()


@behaviour("exchange.delete-no-wait")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"))
    chan.send("exchange.delete", exchange=t.name("x"), nowait=True)
    return chan.exchange(t.name("x"), passive=True)


@behaviour("exchange.trace-publish")
def _(t):
    chan = t.chan()
    chan.publish("amq.rabbitmq.trace", "k")
    return chan.next()
