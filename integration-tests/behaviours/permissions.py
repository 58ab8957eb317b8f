"""Configure, write and read on one vhost, and on topics."""
from scene import behaviour


def limited(t, configure="", write="", read=""):
    """A channel of a user with these permissions; guest's channel beside it."""
    user = t.user(permissions=(configure, write, read))
    return t.chan(t.conn(user=user, password="secret")), t.chan(), user


@behaviour("permission.declare-queue-refused")
def _(t):
    mine, _, _ = limited(t)
    return mine.declare(t.name("q"))


@behaviour("permission.declare-queue-allowed-by-pattern")
def _(t):
    mine, _, _ = limited(t, configure="^beh-.*-q-.*")
    return [mine.declare(t.name("q")), mine.declare(t.name("other"))]


@behaviour("permission.declare-passive-needs-nothing")
def _(t):
    mine, guest, _ = limited(t)
    guest.declare(t.name("q"))
    return mine.declare(t.name("q"), passive=True)


@behaviour("permission.server-named-queue")
def _(t):
    mine, _, _ = limited(t)
    return mine.declare("")


@behaviour("permission.delete-queue-refused")
def _(t):
    mine, guest, _ = limited(t, write=".*", read=".*")
    guest.declare(t.name("q"))
    return mine.call("queue.delete", queue=t.name("q"))


@behaviour("permission.declare-exchange-refused")
def _(t):
    mine, _, _ = limited(t)
    return mine.exchange(t.name("x"))


@behaviour("permission.delete-exchange-refused")
def _(t):
    mine, guest, _ = limited(t)
    guest.exchange(t.name("x"))
    return mine.call("exchange.delete", exchange=t.name("x"))


@behaviour("permission.bind-needs-write-on-queue")
def _(t):
    mine, guest, _ = limited(t, read=".*")
    guest.declare(t.name("q"))
    return mine.bind(t.name("q"), "amq.direct", "k")


@behaviour("permission.bind-needs-read-on-exchange")
def _(t):
    mine, guest, _ = limited(t, write=".*")
    guest.declare(t.name("q"))
    return mine.bind(t.name("q"), "amq.direct", "k")


@behaviour("permission.unbind-needs-write-on-queue")
def _(t):
    mine, guest, _ = limited(t, read=".*")
    guest.declare(t.name("q"))
    return mine.call("queue.unbind", queue=t.name("q"), exchange="amq.direct", routing_key="k")


@behaviour("permission.publish-refused")
def _(t):
    mine, _, _ = limited(t)
    mine.publish("amq.direct", "k")
    return mine.next()


@behaviour("permission.publish-default-exchange-refused")
def _(t):
    mine, _, _ = limited(t)
    mine.publish("", "k")
    return mine.next()


@behaviour("permission.publish-default-exchange-as-amq-default")
def _(t):
    mine, _, _ = limited(t, write="^amq\\.default$")
    mine.publish("", "k")
    return mine.alive()


@behaviour("permission.get-refused")
def _(t):
    mine, guest, _ = limited(t)
    guest.declare(t.name("q"))
    return mine.get(t.name("q"))


@behaviour("permission.consume-refused")
def _(t):
    mine, guest, _ = limited(t)
    guest.declare(t.name("q"))
    return mine.consume(t.name("q"))


@behaviour("permission.purge-refused")
def _(t):
    mine, guest, _ = limited(t)
    guest.declare(t.name("q"))
    return mine.call("queue.purge", queue=t.name("q"))


@behaviour("permission.missing-queue-get-refused-first")
def _(t):
    mine, _, _ = limited(t)
    return mine.get(t.name("none"))


@behaviour("permission.dead-letter-needs-read-on-queue")
def _(t):
    mine, _, _ = limited(t, configure=".*", write=".*")
    return mine.declare(t.name("q"), {"x-dead-letter-exchange": "amq.direct"})


@behaviour("permission.dead-letter-needs-write-on-exchange")
def _(t):
    mine, _, _ = limited(t, configure=".*", read=".*")
    return mine.declare(t.name("q"), {"x-dead-letter-exchange": "amq.direct"})


@behaviour("permission.alternate-needs-read-on-exchange")
def _(t):
    mine, _, _ = limited(t, configure=".*", write=".*")
    return mine.exchange(t.name("x"), args={"alternate-exchange": "amq.direct"})


@behaviour("permission.alternate-needs-write-on-alternate")
def _(t):
    mine, _, _ = limited(t, configure=".*", read=".*")
    return mine.exchange(t.name("x"), args={"alternate-exchange": "amq.direct"})


@behaviour("permission.exchange-bind-needs-write-on-destination")
def _(t):
    mine, _, _ = limited(t, read=".*")
    return mine.call("exchange.bind", destination="amq.fanout", source="amq.direct")


@behaviour("permission.exchange-bind-needs-read-on-source")
def _(t):
    mine, _, _ = limited(t, write=".*")
    return mine.call("exchange.bind", destination="amq.fanout", source="amq.direct")


@behaviour("permission.granted-later-same-connection")
def _(t):
    mine, _, user = limited(t)
    before = mine.declare(t.name("q"))
    t.http("PUT", f"/permissions/%2F/{user}", {"configure": ".*", "write": "", "read": ""})
    mine.open()
    return [before, mine.declare(t.name("q"))]


@behaviour("permission.topic-write-refused")
def _(t):
    mine, _, user = limited(t, write=".*")
    t.http("PUT", f"/topic-permissions/%2F/{user}",
           {"exchange": "amq.topic", "write": "^a", "read": ".*"})
    mine.publish("amq.topic", "a.b")
    fine = mine.alive()
    mine.publish("amq.topic", "b.a")
    return [fine, mine.next()]


@behaviour("permission.topic-read-refused-on-bind")
def _(t):
    mine, guest, user = limited(t, write=".*", read=".*")
    t.http("PUT", f"/topic-permissions/%2F/{user}",
           {"exchange": "amq.topic", "write": ".*", "read": "^a"})
    guest.declare(t.name("q"))
    return [mine.bind(t.name("q"), "amq.topic", "a.#"), mine.bind(t.name("q"), "amq.topic", "b.#")]


@behaviour("permission.topic-variable-username")
def _(t):
    mine, _, user = limited(t, write=".*")
    t.http("PUT", f"/topic-permissions/%2F/{user}",
           {"exchange": "amq.topic", "write": "^{username}\\.", "read": ".*"})
    mine.publish("amq.topic", user + ".x")
    fine = mine.alive()
    mine.publish("amq.topic", "somebody.x")
    return [fine, mine.next()]


@behaviour("permission.user-id-own-name")
def _(t):
    chan, queue = t.chan(), t.name("q")
    chan.declare(queue)
    chan.publish("", queue, "m", {"user_id": "guest"})
    return chan.get(queue)


@behaviour("permission.user-id-other-name")
def _(t):
    chan = t.chan()
    chan.publish("", t.name("q"), "m", {"user_id": "somebody"})
    return chan.next()


@behaviour("permission.user-id-impersonator")
def _(t):
    user = t.user(permissions=(".*", ".*", ".*"), tags="impersonator")
    chan, queue = t.chan(t.conn(user=user, password="secret")), t.name("q")
    chan.declare(queue)
    chan.publish("", queue, "m", {"user_id": "somebody"})
    return chan.get(queue)


@behaviour("permission.vhost-queue-limit")
def _(t):
    vhost = t.vhost()
    t.http("PUT", f"/vhost-limits/{vhost}/max-queues", {"value": 1})
    chan = t.chan(t.conn(vhost=vhost))
    return [chan.declare("one"), chan.declare("one"), chan.declare("two")]


@behaviour("permission.vhost-connection-limit")
def _(t):
    vhost = t.vhost()
    t.http("PUT", f"/vhost-limits/{vhost}/max-connections", {"value": 0})
    return t.raw().handshake(vhost=vhost)


@behaviour("permission.user-connection-limit")
def _(t):
    user = t.user(permissions=(".*", ".*", ".*"))
    status, _ = t.http("PUT", f"/user-limits/{user}/max-connections", {"value": 0})
    return [status, t.raw().handshake(user=user, password="secret")]


@behaviour("permission.user-channel-limit")
def _(t):
    user = t.user(permissions=(".*", ".*", ".*"))
    t.http("PUT", f"/user-limits/{user}/max-channels", {"value": 1})
    conn = t.conn(user=user, password="secret")
    first = t.chan(conn, 1).alive()
    conn.send(2, "channel.open")
    return [first, conn.event()]


@behaviour("permission.vhost-deleted-while-connected")
def _(t):
    vhost = t.vhost()
    conn = t.conn(vhost=vhost)
    t.chan(conn)
    status, _ = t.http("DELETE", f"/vhosts/{vhost}")
    event = conn.event(5)  # its text is "… is down" or "… is deleted", whichever comes first
    return [status, event.name, event.args.get("code")]
