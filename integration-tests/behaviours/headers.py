"""The headers exchange: which sets of headers match which bindings."""
from scene import behaviour
from wire import V

BINDINGS = {
    "all-default": {"a": 1, "b": "x"}, "all": {"x-match": "all", "a": 1, "b": "x"},
    "any": {"x-match": "any", "a": 1, "b": "x"},
    "none": {}, "all-empty": {"x-match": "all"}, "any-empty": {"x-match": "any"},
    "void-is-presence": {"x-match": "all", "a": None},
    "x-ignored": {"x-match": "all", "x-k": 1, "a": 1},
    "x-only": {"x-match": "all", "x-k": 1}, "x-only-any": {"x-match": "any", "x-k": 1},
}
MESSAGES = {
    "a1bx": {"a": 1, "b": "x"}, "a1": {"a": 1}, "bx": {"b": "x"}, "a2": {"a": 2}, "empty": {},
    "a-string": {"a": "1"}, "a-long": {"a": V("l", 1)}, "a-short": {"a": V("s", 1)},
    "a-double": {"a": 1.0}, "a-void": {"a": None}, "more": {"a": 1, "b": "x", "c": 3},
    "x-k": {"x-k": 1}, "a1-x-k": {"a": 1, "x-k": 1},
}


@behaviour("headers.matching-table")
def _(t):
    """Each message with the bindings that match it."""
    chan = t.chan()
    chan.exchange(t.name("x"), "headers")
    queues = {}
    for name, args in BINDINGS.items():
        queues[name] = chan.declare("", exclusive=True).queue
        chan.bind(queues[name], t.name("x"), "", args)
    seen = {}
    for name, headers in MESSAGES.items():
        chan.publish(t.name("x"), "", "m", {"headers": headers})
        seen[name] = " ".join(q for q, queue in queues.items() if chan.get_all(queue))
    chan.publish(t.name("x"), "", "m")
    seen["no-headers"] = " ".join(q for q, queue in queues.items() if chan.get_all(queue))
    return seen


for _name, _value in {"unknown-word": "some", "empty": "", "number": 1, "upper-case": "ALL",
                      "all-with-x": "all-with-x", "any-with-x": "any-with-x"}.items():
    @behaviour("headers.x-match-" + _name)
    def _(t, value=_value):
        chan = t.chan()
        chan.exchange(t.name("x"), "headers")
        chan.declare(t.name("q"))
        bound = chan.bind(t.name("q"), t.name("x"), "", {"x-match": value, "x-k": 1})
        if bound.name != "queue.bind-ok":
            return bound
        chan.publish(t.name("x"), "", "with", {"headers": {"x-k": 1}})
        chan.publish(t.name("x"), "", "without", {"headers": {"y": 1}})
        return [bound, chan.bodies(t.name("q"))]


@behaviour("headers.nested-values")
def _(t):
    chan = t.chan()
    chan.exchange(t.name("x"), "headers")
    chan.declare(t.name("q"))
    chan.bind(t.name("q"), t.name("x"), "", {"t": {"n": 1}, "l": [1, "a"]})
    for body, headers in (("same", {"t": {"n": 1}, "l": [1, "a"]}),
                          ("other", {"t": {"n": 2}, "l": [1, "a"]})):
        chan.publish(t.name("x"), "", body, {"headers": headers})
    return chan.bodies(t.name("q"))
