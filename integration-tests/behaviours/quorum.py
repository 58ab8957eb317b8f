"""Quorum queues as a client of one node sees them."""
from scene import behaviour

QUORUM = {"x-queue-type": "quorum"}


def quorum(t, **more):
    chan = t.chan()
    declared = chan.declare(t.name("q"), {**QUORUM, **more}, durable=True)
    return chan, declared


@behaviour("quorum.declare")
def _(t):
    return quorum(t)[1]


@behaviour("quorum.declare-again")
def _(t):
    chan, _ = quorum(t)
    return chan.declare(t.name("q"), QUORUM, durable=True)


@behaviour("quorum.declare-as-classic")
def _(t):
    chan, _ = quorum(t)
    return chan.declare(t.name("q"), durable=True)


for _name, _flags in {"transient": {}, "exclusive": dict(durable=True, exclusive=True),
                      "auto-delete": dict(durable=True, auto_delete=True)}.items():
    @behaviour("quorum.refused-" + _name)
    def _(t, flags=_flags):
        return t.chan().declare(t.name("q"), QUORUM, **flags)


@behaviour("quorum.refused-server-named")
def _(t):
    return t.chan().declare("", QUORUM, durable=True)


for _name, _args in {"max-priority": {"x-max-priority": 5}, "queue-mode": {"x-queue-mode": "lazy"},
                     "reject-publish-dlx": {"x-overflow": "reject-publish-dlx"},
                     "message-ttl": {"x-message-ttl": 1000}, "unknown": {"x-odd": 1},
                     "delivery-limit": {"x-delivery-limit": 3},
                     "delivery-limit-negative": {"x-delivery-limit": -1},
                     "sac": {"x-single-active-consumer": True},
                     "group-size": {"x-quorum-initial-group-size": 3},
                     "group-size-zero": {"x-quorum-initial-group-size": 0}}.items():
    @behaviour("quorum.argument-" + _name)
    def _(t, args=_args):
        return quorum(t, **args)[1]


@behaviour("quorum.publish-get-ack")
def _(t):
    chan, _ = quorum(t)
    chan.confirm()
    chan.publish("", t.name("q"), "m")
    confirmed = chan.next()
    got = chan.get(t.name("q"), no_ack=False)
    chan.send("basic.ack", tag=got.tag)
    # basic.get leaves a passing consumer behind in RabbitMQ, so the consumers are not shown
    return [confirmed, got, chan.await_depth(t.name("q"), 0)["messages"]]


@behaviour("quorum.delivery-count")
def _(t):
    chan, _ = quorum(t)
    chan.call("basic.qos", prefetch_count=1)
    chan.publish("", t.name("q"), "m")
    chan.consume(t.name("q"))
    seen = []
    for _ in range(3):
        event = chan.next()
        seen.append(event)
        if event.name == "basic.deliver":
            chan.send("basic.reject", tag=event.tag, requeue=True)
    return seen


@behaviour("quorum.delivery-limit-dead-letters")
def _(t):
    chan = t.chan()
    chan.declare(t.name("dead"))
    chan.declare(t.name("q"), {**QUORUM, "x-delivery-limit": 2, "x-dead-letter-exchange": "",
                               "x-dead-letter-routing-key": t.name("dead")}, durable=True)
    chan.publish("", t.name("q"), "m")
    chan.consume(t.name("q"))
    count = 0
    while True:
        event = chan.next(1)
        if event.name != "basic.deliver":
            break
        count += 1
        chan.send("basic.reject", tag=event.tag, requeue=True)
    chan.await_depth(t.name("dead"), 1)
    return [count, event.name, chan.get(t.name("dead"))]


@behaviour("quorum.global-qos")
def _(t):
    chan, _ = quorum(t)
    chan.call("basic.qos", prefetch_count=1, is_global=True)
    return chan.consume(t.name("q"))


@behaviour("quorum.exclusive-consumer")
def _(t):
    chan, _ = quorum(t)
    first = chan.consume(t.name("q"), "one", exclusive=True)
    return [first, chan.consume(t.name("q"), "two")]


@behaviour("quorum.delete-if-unused")
def _(t):
    chan, _ = quorum(t)
    return chan.call("queue.delete", queue=t.name("q"), if_unused=True)


@behaviour("quorum.delete-if-empty")
def _(t):
    chan, _ = quorum(t)
    return chan.call("queue.delete", queue=t.name("q"), if_empty=True)


@behaviour("quorum.delete")
def _(t):
    chan, _ = quorum(t)
    return chan.call("queue.delete", queue=t.name("q"))


@behaviour("quorum.purge")
def _(t):
    chan, _ = quorum(t)
    chan.confirm()
    for _ in range(3):
        chan.publish("", t.name("q"))
    chan.collect(3, wanted={"basic.ack"}, timeout=1)
    return chan.call("queue.purge", queue=t.name("q"))


@behaviour("quorum.reject-publish")
def _(t):
    chan, _ = quorum(t, **{"x-max-length": 1, "x-overflow": "reject-publish"})
    chan.confirm()
    names = []
    for _ in range(6):
        chan.publish("", t.name("q"))
        names.append(chan.next().name)
    return sorted(set(names))
