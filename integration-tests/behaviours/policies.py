"""Policies that change what a client sees."""
from scene import behaviour


def policy(t, definition, apply_to="queues"):
    """A policy for this behaviour's names only; returns the HTTP status."""
    name = f"beh-policy-{t.name_of_behaviour}-{t.run_id}"
    t.undo.append(lambda: t.http("DELETE", f"/policies/%2F/{name}"))
    pattern = f"^beh-{t.name_of_behaviour}-[a-z]+-{t.run_id}$"
    status, answer = t.http("PUT", f"/policies/%2F/{name}", {
        "pattern": pattern, "definition": definition, "apply-to": apply_to, "priority": 0})
    return status if status < 400 else [status, answer]


@behaviour("policy.message-ttl")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    status = policy(t, {"message-ttl": 50})
    chan.publish("", t.name("q"))
    return [status, chan.await_depth(t.name("q"), 0)]


@behaviour("policy.message-ttl-on-older-messages")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"))
    return [policy(t, {"message-ttl": 50}), chan.await_depth(t.name("q"), 0, 1)]


@behaviour("policy.max-length-on-existing-queue")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    for body in "abcde":
        chan.publish("", t.name("q"), body)
    status = policy(t, {"max-length": 2})
    chan.await_depth(t.name("q"), 2)
    return [status, chan.bodies(t.name("q"))]


@behaviour("policy.max-length-lower-of-argument-and-policy")
def _(t):
    chan = t.chan()
    policy(t, {"max-length": 3})
    chan.declare(t.name("q"), {"x-max-length": 5})
    chan.declare(t.name("r"), {"x-max-length": 2})
    for body in "abcdef":
        for name in "qr":
            chan.publish("", t.name(name), body)
    return [chan.bodies(t.name("q")), chan.bodies(t.name("r"))]


@behaviour("policy.dead-letter-exchange")
def _(t):
    chan = t.chan()
    chan.declare(t.name("dead"))
    chan.exchange(t.name("x"), "fanout")
    chan.bind(t.name("dead"), t.name("x"))
    policy(t, {"dead-letter-exchange": t.name("x")})
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"))
    chan.send("basic.reject", tag=chan.get(t.name("q"), no_ack=False).tag)
    chan.await_depth(t.name("dead"), 1)
    return chan.get(t.name("dead"))


@behaviour("policy.dead-letter-argument-beats-policy")
def _(t):
    chan = t.chan()
    for name in ("one", "two"):
        chan.declare(t.name(name))
    policy(t, {"dead-letter-exchange": "", "dead-letter-routing-key": t.name("one")})
    chan.declare(t.name("q"), {"x-dead-letter-exchange": "",
                               "x-dead-letter-routing-key": t.name("two")})
    chan.publish("", t.name("q"))
    chan.send("basic.reject", tag=chan.get(t.name("q"), no_ack=False).tag)
    chan.await_depth(t.name("two"), 1)
    return [chan.depth(t.name("one")), chan.depth(t.name("two"))]


@behaviour("policy.alternate-exchange")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("ae"), "fanout")
    chan.exchange(t.name("x"))
    chan.declare(t.name("rest"))
    chan.bind(t.name("rest"), t.name("ae"))
    status = policy(t, {"alternate-exchange": t.name("ae")}, "exchanges")
    chan.publish(t.name("x"), "k", "lost")
    return [status, chan.bodies(t.name("rest"))]


@behaviour("policy.overflow-reject-publish")
def _(t):
    chan = t.chan()
    policy(t, {"max-length": 1, "overflow": "reject-publish"})
    chan.declare(t.name("q"))
    chan.confirm()
    names = []
    for _ in range(3):
        chan.publish("", t.name("q"))
        names.append(chan.next().name)
    return names


@behaviour("policy.not-part-of-equivalence")
def _(t):
    chan = t.chan()
    policy(t, {"max-length": 1})
    chan.declare(t.name("q"))
    return [chan.declare(t.name("q")), chan.declare(t.name("q"), {"x-max-length": 1})]


@behaviour("policy.expires")
def _(t):
    chan = t.chan()
    policy(t, {"expires": 200})
    chan.declare(t.name("q"))
    chan.conn.event(0.7)
    return chan.declare(t.name("q"), passive=True)


@behaviour("policy.unknown-key")
def _(t):
    status = policy(t, {"odd": 1})
    return status[0] if isinstance(status, list) else status


@behaviour("policy.bad-value")
def _(t):
    status = policy(t, {"max-length": -1})
    return status[0] if isinstance(status, list) else status
