"""Exclusive queues seen from another connection, and when they go."""
from scene import behaviour


def locked(t):
    """A queue that belongs to another connection, and a channel of our own."""
    owner, other = t.chan(), t.chan()
    owner.declare(t.name("q"), exclusive=True)
    return owner, other


for _name, _call in {
        "declare": ("queue.declare", dict(exclusive=True)),
        "declare-not-exclusive": ("queue.declare", {}),
        "declare-passive": ("queue.declare", dict(passive=True)),
        "consume": ("basic.consume", {}), "get": ("basic.get", {}),
        "purge": ("queue.purge", {}), "delete": ("queue.delete", {}),
        "bind": ("queue.bind", dict(exchange="amq.direct", routing_key="k")),
        "unbind": ("queue.unbind", dict(exchange="amq.direct", routing_key="k"))}.items():
    @behaviour("exclusive." + _name)
    def _(t, call=_call):
        _, other = locked(t)
        return other.call(call[0], queue=t.name("q"), **call[1])


@behaviour("exclusive.unbind-existing-binding")
def _(t):
    owner, other = locked(t)
    owner.bind(t.name("q"), "amq.direct", t.name("k"))
    return other.call("queue.unbind", queue=t.name("q"), exchange="amq.direct",
                      routing_key=t.name("k"))


@behaviour("exclusive.publish-allowed")
def _(t):
    owner, other = locked(t)
    other.confirm()
    other.publish("", t.name("q"), "from outside")
    return [other.next(), owner.bodies(t.name("q"))]


@behaviour("exclusive.other-channel-same-connection")
def _(t):
    conn = t.conn()
    one, two = t.chan(conn, 1), t.chan(conn, 2)
    one.declare(t.name("q"), exclusive=True)
    return [two.declare(t.name("q"), exclusive=True), two.get(t.name("q"))]


@behaviour("exclusive.redeclare-not-exclusive-by-owner")
def _(t):
    owner, _ = locked(t)
    return owner.declare(t.name("q"))


@behaviour("exclusive.redeclare-exclusive-of-shared")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.declare(t.name("q"), exclusive=True)


@behaviour("exclusive.gone-with-connection")
def _(t):
    owner, other = locked(t)
    owner.conn.close()
    for _ in range(200):
        answer = other.declare(t.name("q"), passive=True)
        if "NOT_FOUND" in answer.args.get("text", ""):
            return answer
        other.open()
    return answer


@behaviour("exclusive.stays-after-channel-close")
def _(t):
    owner, _ = locked(t)
    owner.call("channel.close", code=200, text="bye")
    owner.open()
    return owner.depth(t.name("q"))


@behaviour("exclusive.durable")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), exclusive=True, durable=True)
    _, body = t.http("GET", f"/queues/%2F/{t.name('q')}?disable_stats=true&enable_queue_totals=true")
    return {key: body.get(key) for key in ("durable", "exclusive", "auto_delete")}


@behaviour("exclusive.auto-delete")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), exclusive=True, auto_delete=True)
    chan.consume(t.name("q"))
    chan.call("basic.cancel", consumer_tag="c")
    return chan.declare(t.name("q"), passive=True)
