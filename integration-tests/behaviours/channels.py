"""Channels: opening, closing, flow and what is refused."""
from scene import Chan, behaviour


@behaviour("channel.open-ok")
def _(t):
    return Chan(t.conn(), 1).open()


@behaviour("channel.second-open")
def _(t):
    return t.chan().call("channel.open")


@behaviour("channel.method-before-open")
def _(t):
    conn = t.conn()
    conn.send(1, "queue.declare", queue=t.name("q"))
    return conn.event(4)


@behaviour("channel.publish-before-open")
def _(t):
    conn = t.conn()
    conn.content(1, "", t.name("q"), "x")
    return conn.event(4)


@behaviour("channel.close-before-open")
def _(t):
    conn = t.conn()
    conn.send(3, "channel.close", code=200, text="bye")
    return conn.event(1)


@behaviour("channel.close-ok")
def _(t):
    return t.chan().call("channel.close", code=200, text="bye")


@behaviour("channel.reopen-same-number")
def _(t):
    chan = t.chan()
    chan.call("channel.close", code=200, text="bye")
    return [chan.open(), chan.alive()]


@behaviour("channel.reopen-after-error")
def _(t):
    chan = t.chan()
    return [chan.call("queue.purge", queue=t.name("none")), chan.open(), chan.alive()]


@behaviour("channel.other-channel-survives-error")
def _(t):
    conn = t.conn()
    one, two = t.chan(conn, 1), t.chan(conn, 2)
    return [one.call("queue.purge", queue=t.name("none")), two.alive()]


@behaviour("channel.methods-after-error-before-close-ok-ignored")
def _(t):
    conn = t.conn()
    conn.auto_close_ok = False
    chan, queue = t.chan(conn), t.name("q")
    error = chan.call("queue.purge", queue=t.name("none"))
    chan.send("queue.declare", queue=queue)
    chan.send("channel.close-ok")
    chan.open()
    return [error, chan.declare(queue, passive=True)]


@behaviour("channel.method-after-close-ok-sent")
def _(t):
    conn = t.conn()
    chan = t.chan(conn)
    chan.call("channel.close", code=200, text="bye")
    chan.send("basic.qos")
    return conn.event(4)


@behaviour("channel.flow-true")
def _(t):
    return t.chan().call("channel.flow", active=True)


@behaviour("channel.flow-false")
def _(t):
    return t.chan().call("channel.flow", active=False)


@behaviour("channel.access-request")
def _(t):
    return t.chan().call("access.request", realm="/data", active=True, write=True)


@behaviour("channel.unacked-requeued-on-close")
def _(t):
    conn = t.conn()
    one, two, queue = t.chan(conn, 1), t.chan(conn, 2), t.name("q")
    one.declare(queue)
    for body in "abc":
        one.publish("", queue, body)
    got = [one.get(queue, no_ack=False).body.decode() for _ in range(2)]
    one.call("channel.close", code=200, text="bye")
    two.await_depth(queue, 3)
    return [got, two.get_all(queue)]


@behaviour("channel.closing-cancels-consumers")
def _(t):
    conn = t.conn()
    one, two, queue = t.chan(conn, 1), t.chan(conn, 2), t.name("q")
    one.declare(queue)
    one.consume(queue)
    before = two.depth(queue)
    one.call("channel.close", code=200, text="bye")
    return [before, two.depth(queue)]


@behaviour("channel.hundred-channels")
def _(t):
    conn = t.conn()
    chans = [t.chan(conn, n) for n in range(1, 101)]
    return sum(c.alive() == "alive" for c in chans)
