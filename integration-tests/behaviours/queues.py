"""Queues: declaring, naming, counting, purging, deleting."""
from scene import behaviour


@behaviour("queue.declare")
def _(t):
    return t.chan().declare(t.name("q"))


@behaviour("queue.declare-counts")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    for _ in range(3):
        chan.publish("", t.name("q"))
    chan.get(t.name("q"), no_ack=False)
    chan.consume(t.name("empty"), "never")
    chan.open()
    chan.await_depth(t.name("q"), 3)
    return chan.declare(t.name("q"))


@behaviour("queue.server-named")
def _(t):
    chan = t.chan()
    one, two = chan.declare("", exclusive=True), chan.declare("", exclusive=True)
    return [one, len(one.queue), one.queue != two.queue]


@behaviour("queue.server-named-not-exclusive")
def _(t):
    chan = t.chan()
    answer = chan.declare("", auto_delete=True)
    t.names.append(answer.queue)
    return answer


@behaviour("queue.passive-missing")
def _(t):
    return t.chan().declare(t.name("q"), passive=True)


@behaviour("queue.passive-empty-name-uses-last")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.declare("", passive=True)


@behaviour("queue.passive-ignores-arguments")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.declare(t.name("q"), {"x-max-length": 3}, passive=True, durable=True)


@behaviour("queue.reserved-prefix")
def _(t):
    return t.chan().declare("amq.beh")


@behaviour("queue.reserved-prefix-passive")
def _(t):
    return t.chan().declare("amq.beh", passive=True)


@behaviour("queue.reserved-prefix-existing")
def _(t):
    chan = t.chan()
    name = chan.declare("", exclusive=True).queue
    return chan.declare(name, exclusive=True)


@behaviour("queue.delete-reserved-prefix")
def _(t):
    return t.chan().call("queue.delete", queue="amq.beh")


@behaviour("queue.line-breaks-in-name")
def _(t):
    chan = t.chan()
    return chan.declare(t.name("q") + "\r\n")


@behaviour("queue.longest-name")
def _(t):
    name = ("beh-" + t.run_id).ljust(255, "x")
    t.names.append(name)
    return len(t.chan().declare(name).queue)


@behaviour("queue.unicode-name")
def _(t):
    chan, name = t.chan(), t.name("größe-兎")
    return [chan.declare(name), chan.bind(name, "amq.direct", "ключ"),
            chan.declare(name + "!", passive=True)]


@behaviour("queue.last-declared-get")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.get("")


@behaviour("queue.last-declared-consume")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return [chan.consume("", "c"), chan.depth(t.name("q"))]


@behaviour("queue.last-declared-purge-and-delete")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return [chan.call("queue.purge", queue=""), chan.call("queue.delete", queue=""),
            chan.declare(t.name("q"), passive=True)]


@behaviour("queue.last-declared-after-delete")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.call("queue.delete", queue=t.name("q"))
    return chan.get("")


@behaviour("queue.last-declared-not-of-other-channel")
def _(t):
    conn = t.conn()
    t.chan(conn, 1).declare(t.name("q"))
    return t.chan(conn, 2).get("")


for _method in ("queue.purge", "queue.delete", "basic.consume", "basic.get"):
    @behaviour("queue.none-declared-" + _method)
    def _(t, method=_method):
        return t.chan().call(method, queue="")


@behaviour("queue.none-declared-bind")
def _(t):
    return t.chan().bind("", "amq.direct", "k")


@behaviour("queue.declare-no-wait")
def _(t):
    chan = t.chan()
    chan.send("queue.declare", queue=t.name("q"), nowait=True)
    return [chan.declare(t.name("q"), passive=True), chan.quiet(0.1)]


@behaviour("queue.declare-no-wait-error")
def _(t):
    chan = t.chan()
    chan.send("queue.declare", queue=t.name("q"), passive=True, nowait=True)
    return chan.next()


@behaviour("queue.purge")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    for _ in range(5):
        chan.publish("", t.name("q"))
    return [chan.call("queue.purge", queue=t.name("q")), chan.depth(t.name("q"))]


@behaviour("queue.purge-leaves-unacked")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    for body in "abc":
        chan.publish("", t.name("q"), body)
    got = chan.get(t.name("q"), no_ack=False)
    purged = chan.call("queue.purge", queue=t.name("q"))
    chan.send("basic.nack", tag=got.tag, requeue=True)
    return [purged, chan.bodies(t.name("q"))]


@behaviour("queue.purge-no-wait")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"))
    chan.send("queue.purge", queue=t.name("q"), nowait=True)
    return chan.depth(t.name("q"))


@behaviour("queue.purge-missing")
def _(t):
    return t.chan().call("queue.purge", queue=t.name("q"))


@behaviour("queue.delete-returns-count")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    for _ in range(4):
        chan.publish("", t.name("q"))
    return chan.call("queue.delete", queue=t.name("q"))


@behaviour("queue.delete-missing")
def _(t):
    return t.chan().call("queue.delete", queue=t.name("q"))


@behaviour("queue.delete-no-wait")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.send("queue.delete", queue=t.name("q"), nowait=True)
    return chan.declare(t.name("q"), passive=True)


@behaviour("queue.delete-if-empty-refused")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"))
    return chan.call("queue.delete", queue=t.name("q"), if_empty=True)


@behaviour("queue.delete-if-empty-with-unacked-only")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"))
    chan.get(t.name("q"), no_ack=False)
    return chan.call("queue.delete", queue=t.name("q"), if_empty=True)


@behaviour("queue.delete-if-unused-refused")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.consume(t.name("q"))
    return chan.call("queue.delete", queue=t.name("q"), if_unused=True)


@behaviour("queue.delete-if-both-refused")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"))
    chan.consume(t.name("q"))
    return chan.call("queue.delete", queue=t.name("q"), if_unused=True, if_empty=True)


@behaviour("queue.delete-if-unused-and-empty-allowed")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.call("queue.delete", queue=t.name("q"), if_unused=True, if_empty=True)


@behaviour("queue.delete-removes-bindings")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), "amq.direct", t.name("k"))
    chan.call("queue.delete", queue=t.name("q"))
    chan.declare(t.name("q"))
    chan.publish("amq.direct", t.name("k"), mandatory=True)
    return [chan.next(), chan.bodies(t.name("q"))]


@behaviour("queue.auto-delete-on-last-cancel")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), auto_delete=True)
    before = chan.depth(t.name("q"))
    for tag in "ab":
        chan.consume(t.name("q"), tag)
    chan.call("basic.cancel", consumer_tag="a")
    middle = chan.depth(t.name("q"))
    chan.call("basic.cancel", consumer_tag="b")
    return [before, middle, chan.declare(t.name("q"), passive=True)]


@behaviour("queue.auto-delete-on-connection-end")
def _(t):
    conn, chan = t.conn(), t.chan()
    other = t.chan(conn)
    other.declare(t.name("q"), auto_delete=True)
    other.consume(t.name("q"))
    conn.close()
    for _ in range(100):
        answer = chan.declare(t.name("q"), passive=True)
        if answer.name == "channel.close":
            return answer
    return answer


@behaviour("queue.auto-delete-never-consumed-stays")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), auto_delete=True)
    chan.publish("", t.name("q"))
    chan.get(t.name("q"))
    return chan.depth(t.name("q"))


@behaviour("queue.http-view")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length": 9, "x-odd": "kept"}, durable=True)
    _, body = t.http("GET", f"/queues/%2F/{t.name('q')}?disable_stats=true&enable_queue_totals=true")
    keys = ("vhost", "durable", "auto_delete", "exclusive", "arguments", "type")
    return {key: body.get(key) for key in keys}
