"""Where messages go: direct, fanout, topic, exchange to exchange, alternates, CC."""
from scene import behaviour


def routed(chan, exchange, queues, keys, props=None):
    """For each key the queues that got the message."""
    seen = {}
    for key in keys:
        chan.publish(exchange, key, "m", props)
        seen[key] = [short for short, queue in queues.items() if chan.get_all(queue)]
    return seen


@behaviour("route.default-exchange")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return routed(chan, "", {"q": t.name("q")}, [t.name("q"), "other"])


@behaviour("route.direct")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"))
    for queue, key in (("a", "a"), ("b", "b"), ("c", "a"), ("empty", "")):
        chan.declare(t.name(queue))
        chan.bind(t.name(queue), t.name("x"), key)
    queues = {q: t.name(q) for q in ("a", "b", "c", "empty")}
    return routed(chan, t.name("x"), queues, ["a", "b", "A", "", "a.b"])


@behaviour("route.fanout-ignores-key")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "fanout")
    for queue, key in (("a", "a"), ("b", "")):
        chan.declare(t.name(queue))
        chan.bind(t.name(queue), t.name("x"), key)
    return routed(chan, t.name("x"), {q: t.name(q) for q in "ab"}, ["a", "", "zzz"])


@behaviour("route.one-copy-for-several-bindings")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "topic")
    chan.declare(t.name("q"))
    for key in ("a", "*", "#", "a.#"):
        chan.bind(t.name("q"), t.name("x"), key)
    chan.publish(t.name("x"), "a")
    return len(chan.get_all(t.name("q")))


PATTERNS = ["a", "*", "#", "a.*", "a.#", "*.b", "#.b", "a.*.c", "a.#.c", "*.*", "#.*", "*.#",
            "#.#", "", ".", "a.", ".a", "*.", "#.", ".*", "a..b", "a.*.b", "a.#.b", "#.a.#",
            "*.#.*", "a*", "#a", "**", "##", "a.**", "a.##.b", "A"]
KEYS = ["", "a", "b", "a.b", "a.b.c", "a.c", "a..b", ".", "a.", ".a", "..", "a.b.c.b", "*", "#",
        "a.*", "A", "a*", "#a", "b.a.b", "**", "a.x.y.b"]


@behaviour("route.topic-patterns")
def _(t):
    """Each key with the patterns that match it."""
    chan = t.chan()
    chan.exchange(t.name("x"), "topic")
    queues = {}
    for index, pattern in enumerate(PATTERNS):
        queues[pattern] = chan.declare("", exclusive=True).queue
        chan.bind(queues[pattern], t.name("x"), pattern)
    return {key: " ".join(map(repr, matched))
            for key, matched in routed(chan, t.name("x"), queues, KEYS).items()}


@behaviour("route.topic-after-unbind")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "topic")
    chan.declare(t.name("q"))
    for pattern in ("a.#", "a.*"):
        chan.bind(t.name("q"), t.name("x"), pattern)
    chan.call("queue.unbind", queue=t.name("q"), exchange=t.name("x"), routing_key="a.#")
    return routed(chan, t.name("x"), {"q": t.name("q")}, ["a", "a.b", "a.b.c"])


@behaviour("route.topic-256-byte-words")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "topic")
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"), "#." + "y" * 100)
    chan.publish(t.name("x"), "x" * 154 + "." + "y" * 100)
    return len(chan.get_all(t.name("q")))


@behaviour("bind.twice-is-one")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"))
    chan.declare(t.name("q"))
    answers = [chan.bind(t.name("q"), t.name("x"), "k") for _ in range(2)]
    chan.publish(t.name("x"), "k")
    return answers + [len(chan.get_all(t.name("q")))]


@behaviour("bind.same-key-other-arguments-is-another")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"))
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"), "k")
    chan.bind(t.name("q"), t.name("x"), "k", {"x-mark": 1})
    chan.call("queue.unbind", queue=t.name("q"), exchange=t.name("x"), routing_key="k")
    chan.publish(t.name("x"), "k")
    return len(chan.get_all(t.name("q")))


@behaviour("bind.queue-missing")
def _(t):
    return t.chan().bind(t.name("q"), "amq.direct", "k")


@behaviour("bind.exchange-missing")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.bind(t.name("q"), t.name("x"), "k")


@behaviour("bind.both-missing")
def _(t):
    return t.chan().bind(t.name("q"), t.name("x"), "k")


@behaviour("bind.default-exchange")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.bind(t.name("q"), "", "k")


@behaviour("bind.default-exchange-missing-queue")
def _(t):
    return t.chan().bind(t.name("q"), "", "k")


@behaviour("bind.no-wait")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.send("queue.bind", queue=t.name("q"), exchange="amq.direct", routing_key=t.name("k"),
              nowait=True)
    chan.publish("amq.direct", t.name("k"), "m")
    return chan.bodies(t.name("q"))


@behaviour("bind.empty-queue-empty-key-uses-queue-name")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.bind("", "amq.direct", "")
    return routed(chan, "amq.direct", {"q": t.name("q")}, ["", t.name("q")])


@behaviour("bind.empty-queue-with-key")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.bind("", "amq.direct", t.name("k"))
    return routed(chan, "amq.direct", {"q": t.name("q")}, [t.name("k")])


@behaviour("unbind.missing-binding")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.call("queue.unbind", queue=t.name("q"), exchange="amq.direct", routing_key="none")


@behaviour("unbind.missing-exchange")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.call("queue.unbind", queue=t.name("q"), exchange=t.name("x"), routing_key="none")


@behaviour("unbind.missing-queue")
def _(t):
    return t.chan().call("queue.unbind", queue=t.name("q"), exchange="amq.direct")


@behaviour("unbind.default-exchange")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    return chan.call("queue.unbind", queue=t.name("q"), exchange="", routing_key=t.name("q"))


@behaviour("e2e.route-and-unbind")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("a"), "topic")
    chan.exchange(t.name("b"), "direct")
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("b"), "x.y")
    queues, keys = {"q": t.name("q")}, ["x.y", "x.z"]
    binding = dict(destination=t.name("b"), source=t.name("a"), routing_key="x.*")
    bound = chan.call("exchange.bind", **binding)
    with_it = routed(chan, t.name("a"), queues, keys)
    unbound = chan.call("exchange.unbind", **binding)
    return [bound, with_it, unbound, routed(chan, t.name("a"), queues, keys)]


@behaviour("e2e.cycle")
def _(t):
    chan = t.chan()
    for name in "ab":
        chan.exchange(t.name(name), "fanout")
        chan.declare(t.name("q" + name))
        chan.bind(t.name("q" + name), t.name(name))
    chan.call("exchange.bind", destination=t.name("b"), source=t.name("a"))
    chan.call("exchange.bind", destination=t.name("a"), source=t.name("b"))
    chan.publish(t.name("a"), "k", "once")
    return [chan.bodies(t.name("qa")), chan.bodies(t.name("qb"))]


@behaviour("e2e.to-itself")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("a"), "fanout")
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("a"))
    bound = chan.call("exchange.bind", destination=t.name("a"), source=t.name("a"))
    chan.publish(t.name("a"), "k", "once")
    return [bound, chan.bodies(t.name("q"))]


@behaviour("e2e.diamond-one-copy")
def _(t):
    chan = t.chan()
    for name in "abcd":
        chan.exchange(t.name(name), "fanout")
    for source, destination in ("ab", "ac", "bd", "cd"):
        chan.call("exchange.bind", destination=t.name(destination), source=t.name(source))
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("d"))
    chan.publish(t.name("a"), "k", "once")
    return chan.bodies(t.name("q"))


@behaviour("e2e.missing-source")
def _(t):
    return t.chan().call("exchange.bind", destination="amq.fanout", source=t.name("x"))


@behaviour("e2e.missing-destination")
def _(t):
    return t.chan().call("exchange.bind", destination=t.name("x"), source="amq.fanout")


@behaviour("e2e.default-as-source")
def _(t):
    return t.chan().call("exchange.bind", destination="amq.fanout", source="")


@behaviour("e2e.default-as-destination")
def _(t):
    return t.chan().call("exchange.bind", destination="", source="amq.fanout")


@behaviour("e2e.unbind-missing-binding")
def _(t):
    return t.chan().call("exchange.unbind", destination="amq.fanout", source="amq.direct",
                         routing_key=t.name("none"))


@behaviour("e2e.no-wait")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("a"), "fanout")
    chan.exchange(t.name("b"), "fanout")
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("b"))
    chan.send("exchange.bind", destination=t.name("b"), source=t.name("a"), nowait=True)
    chan.publish(t.name("a"), "k", "m")
    return chan.bodies(t.name("q"))


@behaviour("alternate.unrouted-goes-there")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("ae"), "fanout")
    chan.exchange(t.name("x"), args={"alternate-exchange": t.name("ae")})
    for queue, exchange in (("q", "x"), ("rest", "ae")):
        chan.declare(t.name(queue))
        chan.bind(t.name(queue), t.name(exchange), "k")
    return routed(chan, t.name("x"), {"q": t.name("q"), "rest": t.name("rest")}, ["k", "other"])


@behaviour("alternate.delivered-with-first-exchange")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("ae"), "fanout")
    chan.exchange(t.name("x"), args={"alternate-exchange": t.name("ae")})
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("ae"))
    chan.publish(t.name("x"), "lost", mandatory=True)
    return [chan.get(t.name("q")), chan.quiet(0.1)]


@behaviour("alternate.chain-and-cycle")
def _(t):
    chan = t.chan()
    for name, other in ("ab", "bc", "ca"):
        chan.exchange(t.name(name), args={"alternate-exchange": t.name(other)})
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("c"), "k")
    chan.publish(t.name("a"), "k", "found", mandatory=True)
    chan.publish(t.name("a"), "none", "lost", mandatory=True)
    return [chan.next(), chan.bodies(t.name("q"))]


@behaviour("alternate.per-exchange-not-per-route")
def _(t):
    """Bound to an exchange that does not route: the alternate of the first is not used."""
    chan = t.chan()
    chan.exchange(t.name("ae"), "fanout")
    chan.exchange(t.name("x"), args={"alternate-exchange": t.name("ae")})
    chan.exchange(t.name("y"))
    chan.call("exchange.bind", destination=t.name("y"), source=t.name("x"), routing_key="k")
    chan.declare(t.name("rest"))
    chan.bind(t.name("rest"), t.name("ae"))
    chan.publish(t.name("x"), "k", "m", mandatory=True)
    return [chan.bodies(t.name("rest")), chan.quiet(0.2)]


@behaviour("cc.adds-keys")
def _(t):
    chan = t.chan()
    for name in "abc":
        chan.declare(t.name(name))
    chan.publish("", t.name("a"), "m", {"headers": {"CC": [t.name("b")], "BCC": [t.name("c")]}})
    return [chan.get(t.name(name)) for name in "abc"]


@behaviour("cc.same-queue-once")
def _(t):
    chan = t.chan()
    chan.declare(t.name("a"))
    chan.publish("", t.name("a"), "m", {"headers": {"CC": [t.name("a")]}})
    return len(chan.get_all(t.name("a")))


for _name, _value in {"string": "key", "number": 5, "array-of-numbers": [1]}.items():
    for _header in ("CC", "BCC"):
        @behaviour(f"{_header.lower()}.{_name}")
        def _(t, header=_header, value=_value):
            chan = t.chan()
            chan.publish("amq.direct", "k", "m", {"headers": {header: value}})
            return chan.alive()


@behaviour("cc.mandatory-routed-by-cc-only")
def _(t):
    chan = t.chan()
    chan.declare(t.name("a"))
    chan.publish("", t.name("none"), "m", {"headers": {"CC": [t.name("a")]}}, mandatory=True)
    return [len(chan.get_all(t.name("a"))), chan.quiet(0.1)]
