"""Direct reply-to: the queue that is none."""
from scene import behaviour

PSEUDO = "amq.rabbitmq.reply-to"


def asked(t):
    """A requester that consumes replies, and a server channel with its request."""
    requester, server = t.chan(), t.chan()
    server.declare(t.name("q"))
    requester.consume(PSEUDO, "replies", no_ack=True)
    requester.publish("", t.name("q"), "ask", {"reply_to": PSEUDO, "correlation_id": "7"})
    requester.alive()
    return requester, server, server.get(t.name("q"))


@behaviour("reply-to.consume")
def _(t):
    return t.chan().consume(PSEUDO, no_ack=True)


@behaviour("reply-to.consume-with-ack")
def _(t):
    return t.chan().consume(PSEUDO, no_ack=False)


@behaviour("reply-to.consume-twice")
def _(t):
    chan = t.chan()
    chan.consume(PSEUDO, "one", no_ack=True)
    return chan.consume(PSEUDO, "two", no_ack=True)


@behaviour("reply-to.consume-again-after-cancel")
def _(t):
    chan = t.chan()
    chan.consume(PSEUDO, "one", no_ack=True)
    return [chan.call("basic.cancel", consumer_tag="one"),
            chan.consume(PSEUDO, "two", no_ack=True)]


@behaviour("reply-to.request-without-consumer")
def _(t):
    chan = t.chan()
    chan.publish("", t.name("q"), "ask", {"reply_to": PSEUDO})
    return chan.next()


@behaviour("reply-to.request-is-rewritten")
def _(t):
    _, _, request = asked(t)
    return request


@behaviour("reply-to.round-trip")
def _(t):
    requester, server, request = asked(t)
    server.publish("", request.props["reply_to"], "answer", {"correlation_id": "7"})
    return requester.next()


@behaviour("reply-to.two-replies")
def _(t):
    requester, server, request = asked(t)
    for body in ("first", "second"):
        server.publish("", request.props["reply_to"], body)
    return [e.body.decode() if e.body else e for e in requester.collect(2)]


@behaviour("reply-to.mandatory-and-confirm")
def _(t):
    """Delivered, and what the server hears of it."""
    requester, server, request = asked(t)
    server.confirm()
    server.publish("", request.props["reply_to"], "answer", mandatory=True)
    return [requester.next().body.decode(), server.next(), server.quiet(0.1)]


@behaviour("reply-to.requester-gone-mandatory")
def _(t):
    requester, server, request = asked(t)
    requester.conn.close()
    for _ in range(100):
        if server.declare(request.props["reply_to"], passive=True).name == "channel.close":
            server.open()
            break
    server.publish("", request.props["reply_to"], "answer", mandatory=True)
    return server.next()


@behaviour("reply-to.declare-passive-of-requester")
def _(t):
    _, server, request = asked(t)
    return server.declare(request.props["reply_to"], passive=True)


@behaviour("reply-to.declare-of-requester")
def _(t):
    _, server, request = asked(t)
    return server.declare(request.props["reply_to"])


@behaviour("reply-to.declare-pseudo-name-without-consumer")
def _(t):
    return t.chan().declare(PSEUDO, passive=True)


@behaviour("reply-to.declare-pseudo-name-with-consumer")
def _(t):
    chan = t.chan()
    chan.consume(PSEUDO, no_ack=True)
    return chan.declare(PSEUDO, passive=True)


@behaviour("reply-to.declare-unknown-target")
def _(t):
    return t.chan().declare(PSEUDO + ".beh-nothing", passive=True)


@behaviour("reply-to.publish-to-bad-target-mandatory")
def _(t):
    chan = t.chan()
    chan.publish("", PSEUDO + ".beh-nothing", mandatory=True)
    return chan.next()


@behaviour("reply-to.bind")
def _(t):
    return t.chan().bind(PSEUDO, "amq.direct", "k")


@behaviour("reply-to.get")
def _(t):
    return t.chan().get(PSEUDO)


@behaviour("reply-to.purge")
def _(t):
    return t.chan().call("queue.purge", queue=PSEUDO)


@behaviour("reply-to.delete")
def _(t):
    return t.chan().call("queue.delete", queue=PSEUDO)


@behaviour("reply-to.through-named-exchange-not-rewritten-by-others")
def _(t):
    """A reply-to of another name is passed as it is."""
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), "m", {"reply_to": "somewhere.else"})
    return chan.get(t.name("q"))


@behaviour("reply-to.exclusive-consumer-allowed")
def _(t):
    return t.chan().consume(PSEUDO, no_ack=True, exclusive=True)
