"""x-arguments: which values are taken, and what makes a second declare differ."""
from scene import behaviour
from wire import V

VALUES = {
    "x-expires": {"zero": 0, "negative": -1, "string": "100", "bool": True, "double": 1.5,
                  "one-hour": 3600000, "too-large": V("l", 2**32), "largest": V("l", 2**32 - 1)},
    "x-message-ttl": {"zero": 0, "negative": -1, "string": "100", "bool": True, "double": 1.0,
                      "too-large": V("l", 2**32), "largest": V("l", 2**32 - 1)},
    "x-max-length": {"zero": 0, "negative": -1, "string": "1", "bool": False, "huge": V("l", 2**60)},
    "x-max-length-bytes": {"zero": 0, "negative": -1, "string": "1", "huge": V("l", 2**60)},
    "x-max-priority": {"zero": 0, "negative": -1, "string": "1", "255": 255, "256": 256,
                       "1000000": 1000000},
    "x-overflow": {"drop-head": "drop-head", "reject-publish": "reject-publish",
                   "reject-publish-dlx": "reject-publish-dlx", "unknown": "drop-tail",
                   "number": 1, "empty": ""},
    "x-dead-letter-exchange": {"number": 1, "empty": "", "missing": "beh-none"},
    "x-dead-letter-routing-key": {"alone": "k", "number": 1},
    "x-queue-mode": {"default": "default", "lazy": "lazy", "unknown": "fast", "number": 1},
    "x-queue-version": {"1": 1, "2": 2, "3": 3, "string": "2"},
    "x-queue-type": {"classic": "classic", "unknown": "odd", "number": 1, "empty": ""},
    "x-single-active-consumer": {"true": True, "false": False, "string": "true", "number": 1},
    "x-queue-master-locator": {"client-local": "client-local", "unknown": "odd", "number": 1},
    "x-queue-leader-locator": {"client-local": "client-local", "unknown": "odd"},
    "x-delivery-limit": {"five": 5, "negative": -1, "string": "x"},
    "x-quorum-initial-group-size": {"three": 3},
    "x-max-age": {"1D": "1D"},
    "x-stream-max-segment-size-bytes": {"1000": 1000},
    "x-unknown": {"number": 1, "void": None, "table": {"a": 1}},
}
for _argument, _values in VALUES.items():
    for _name, _value in _values.items():
        @behaviour(f"argument.{_argument}.{_name}")
        def _(t, argument=_argument, value=_value):
            return t.chan().declare(t.name("q"), {argument: value})

for _kind, _value in {"byte": V("b", 10), "unsigned-byte": V("B", 10), "short": V("s", 10),
                      "unsigned-short": V("u", 10), "unsigned-int": V("i", 10),
                      "long": V("l", 10), "double": 10.0, "string": "10"}.items():
    @behaviour("equivalence.integer-as-" + _kind)
    def _(t, value=_value):
        chan = t.chan()
        chan.declare(t.name("q"), {"x-max-length": 10})
        return chan.declare(t.name("q"), {"x-max-length": value})

CHANGES = {
    "x-expires": (1000000, 1000001), "x-message-ttl": (1, 2), "x-max-length": (1, 2),
    "x-max-length-bytes": (1, 2), "x-max-priority": (1, 2),
    "x-overflow": ("drop-head", "reject-publish"), "x-dead-letter-exchange": ("a", "b"),
    "x-single-active-consumer": (True, False), "x-queue-mode": ("lazy", "default"),
    "x-queue-version": (1, 2), "x-queue-type": ("classic", "quorum"), "x-unknown": (1, 2),
}
for _argument, (_one, _two) in CHANGES.items():
    @behaviour(f"equivalence.{_argument}.other-value")
    def _(t, argument=_argument, one=_one, two=_two):
        chan = t.chan()
        first = chan.declare(t.name("q"), {argument: one}, durable=True)
        again = chan.declare(t.name("q"), {argument: two}, durable=True)
        return again if first.name == "queue.declare-ok" else [first, again]

    @behaviour(f"equivalence.{_argument}.given-later")
    def _(t, argument=_argument, one=_one):
        chan = t.chan()
        chan.declare(t.name("q"), durable=True)
        return chan.declare(t.name("q"), {argument: one}, durable=True)

    @behaviour(f"equivalence.{_argument}.left-out")
    def _(t, argument=_argument, one=_one):
        chan = t.chan()
        chan.declare(t.name("q"), {argument: one}, durable=True)
        return chan.declare(t.name("q"), durable=True)


@behaviour("equivalence.x-dead-letter-routing-key.other-value")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "b"})
    return chan.declare(t.name("q"), {"x-dead-letter-exchange": "a",
                                      "x-dead-letter-routing-key": "c"})


for _flag in ("durable", "auto_delete"):
    @behaviour("equivalence.flag-" + _flag)
    def _(t, flag=_flag):
        chan = t.chan()
        chan.declare(t.name("q"))
        return chan.declare(t.name("q"), **{flag: True})

    @behaviour(f"equivalence.flag-{_flag}-gone")
    def _(t, flag=_flag):
        chan = t.chan()
        chan.declare(t.name("q"), **{flag: True})
        return chan.declare(t.name("q"))


@behaviour("equivalence.several-differ-first-reported")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length": 1, "x-message-ttl": 1})
    return chan.declare(t.name("q"), {"x-message-ttl": 2, "x-max-length": 2}, durable=True)


@behaviour("equivalence.argument-order-does-not-matter")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-max-length": 1, "x-message-ttl": 1})
    return chan.declare(t.name("q"), {"x-message-ttl": 1, "x-max-length": 1})


CONSUMER_VALUES = {
    "x-priority": {"negative": -5, "zero": 0, "large": V("l", 2**40), "string": "5", "double": 1.5},
    "x-cancel-on-ha-failover": {"true": True, "string": "true"},
    "x-stream-offset": {"first": "first"}, "x-unknown": {"number": 1},
}
for _argument, _values in CONSUMER_VALUES.items():
    for _name, _value in _values.items():
        @behaviour(f"consumer-argument.{_argument}.{_name}")
        def _(t, argument=_argument, value=_value):
            chan = t.chan()
            chan.declare(t.name("q"))
            return chan.consume(t.name("q"), args={argument: value})
