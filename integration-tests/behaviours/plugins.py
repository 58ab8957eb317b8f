"""Exchange types that RabbitMQ has as plugins, and the firehose."""
from scene import behaviour

DELAYED = "x-delayed-message"


def spread(t, chan, type, count, weights, args=None, props=lambda n: {}):
    """How many of `count` messages with different keys each queue got, by weight."""
    declared = chan.exchange(t.name("x"), type, args)
    if declared.name != "exchange.declare-ok":
        return declared
    for index, weight in enumerate(weights):
        chan.declare(t.name(f"q{index}"))
        answer = chan.bind(t.name(f"q{index}"), t.name("x"), weight)
        if answer.name != "queue.bind-ok":
            return answer
    for n in range(count):
        chan.publish(t.name("x"), f"key-{n}", str(n), props(n))
    return [len(chan.get_all(t.name(f"q{i}"), count)) for i in range(len(weights))]


@behaviour("consistent-hash.everything-arrives-once")
def _(t):
    counts = spread(t, t.chan(), "x-consistent-hash", 300, ["10", "10", "20"])
    if not isinstance(counts, list):
        return counts
    return {"sum": sum(counts), "all used": min(counts) > 0}


@behaviour("consistent-hash.same-key-same-queue")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "x-consistent-hash")
    for name in "abc":
        chan.declare(t.name(name))
        chan.bind(t.name(name), t.name("x"), "1")
    for _ in range(10):
        chan.publish(t.name("x"), "the same")
    return sorted(len(chan.get_all(t.name(name))) for name in "abc")


@behaviour("consistent-hash.hash-header")
def _(t):
    counts = spread(t, t.chan(), "x-consistent-hash", 100, ["1", "1"], {"hash-header": "h"},
                    lambda n: {"headers": {"h": "one"}})
    return sorted(counts) if isinstance(counts, list) else counts


@behaviour("consistent-hash.hash-property")
def _(t):
    counts = spread(t, t.chan(), "x-consistent-hash", 100, ["1", "1"],
                    {"hash-property": "message_id"}, lambda n: {"message_id": "one"})
    return sorted(counts) if isinstance(counts, list) else counts


for _weight in ("0", "-1", "letters", "", "1.5"):
    @behaviour(f"consistent-hash.weight-{_weight or 'empty'}")
    def _(t, weight=_weight):
        chan = t.chan()
        chan.exchange(t.name("x"), "x-consistent-hash")
        chan.declare(t.name("q"))
        return chan.bind(t.name("q"), t.name("x"), weight)


for _name, _args in {"both": {"hash-header": "h", "hash-property": "message_id"},
                     "unknown-property": {"hash-property": "app_id"}}.items():
    @behaviour("consistent-hash.declare-" + _name)
    def _(t, args=_args):
        return t.chan().exchange(t.name("x"), "x-consistent-hash", args)


@behaviour("random.one-queue-each")
def _(t):
    counts = spread(t, t.chan(), "x-random", 200, ["a", "b"])
    if not isinstance(counts, list):
        return counts
    return {"sum": sum(counts), "all used": min(counts) > 0}


@behaviour("recent-history.late-queue-gets-the-last")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "x-recent-history", {"x-recent-history-length": 3})
    for body in "abcde":
        chan.publish(t.name("x"), "k", body)
    chan.publish(t.name("x"), "k", "secret", {"headers": {"x-recent-history-no-store": True}})
    chan.declare(t.name("q"))
    bound = chan.bind(t.name("q"), t.name("x"))
    chan.await_depth(t.name("q"), 3)
    return [bound, chan.bodies(t.name("q"))]


@behaviour("recent-history.default-length")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "x-recent-history")
    for n in range(30):
        chan.publish(t.name("x"), "k", str(n))
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"))
    chan.await_depth(t.name("q"), 20)
    return len(chan.get_all(t.name("q")))


@behaviour("recent-history.also-fanout")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "x-recent-history")
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"), "any")
    chan.publish(t.name("x"), "k", "now")
    return chan.bodies(t.name("q"))


for _name, _length in {"zero": 0, "negative": -1, "string": "3"}.items():
    @behaviour("recent-history.length-" + _name)
    def _(t, length=_length):
        return t.chan().exchange(t.name("x"), "x-recent-history",
                                 {"x-recent-history-length": length})


@behaviour("delayed.declare")
def _(t):
    """A plugin that Debian does not have; its absence is an unknown type."""
    return t.chan().exchange(t.name("x"), DELAYED, {"x-delayed-type": "direct"})


@behaviour("delayed.in-order-of-time")
def _(t):
    chan = t.chan()
    declared = chan.exchange(t.name("x"), DELAYED, {"x-delayed-type": "direct"})
    if declared.name != "exchange.declare-ok":
        return declared
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"), "k")
    for body, delay in (("late", 300), ("soon", 100), ("now", None)):
        headers = {} if delay is None else {"x-delay": delay}
        chan.publish(t.name("x"), "k", body, {"headers": headers})
    chan.await_depth(t.name("q"), 3)
    return chan.get_all(t.name("q"))


@behaviour("firehose.publish-and-deliver")
def _(t):
    vhost = t.vhost()
    t.http("PUT", f"/vhosts/{vhost}", {"tracing": True})
    # only connections opened after tracing was switched on
    chan, user = t.chan(t.conn(vhost=vhost)), t.chan(t.conn(vhost=vhost))
    trace = chan.declare("trace").queue
    chan.bind(trace, "amq.rabbitmq.trace", "#")
    user.declare("q")
    user.publish("", "q", "seen", {"message_id": "1"})
    user.get("q")
    chan.await_depth(trace, 2)
    seen = []
    for event in chan.get_all(trace):
        headers = (event.props or {}).get("headers", {})
        seen.append([event.args.get("routing_key", event.name), event.args.get("exchange"),
                     (event.body or b"").decode(), sorted(headers), headers.get("exchange_name"),
                     headers.get("routing_keys"), headers.get("properties")])
    return seen
