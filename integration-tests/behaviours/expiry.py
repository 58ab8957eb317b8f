"""Time to live of messages and of queues."""
import time

from scene import behaviour


@behaviour("ttl.queue")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-message-ttl": 1000})
    chan.confirm()
    chan.publish("", t.name("q"))
    chan.next()
    return [chan.depth(t.name("q")), chan.await_depth(t.name("q"), 0)]


@behaviour("ttl.message")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.confirm()
    chan.publish("", t.name("q"), props={"expiration": "1000"})
    chan.next()
    return [chan.depth(t.name("q")), chan.await_depth(t.name("q"), 0)]


@behaviour("ttl.lower-of-queue-and-message")
def _(t):
    chan = t.chan()
    chan.declare(t.name("long"), {"x-message-ttl": 600000})
    chan.declare(t.name("short"), {"x-message-ttl": 200})
    chan.publish("", t.name("long"), props={"expiration": "200"})
    chan.publish("", t.name("short"), props={"expiration": "600000"})
    return [chan.await_depth(t.name("long"), 0), chan.await_depth(t.name("short"), 0)]


@behaviour("ttl.kept-in-property-when-delivered")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-message-ttl": 60000})
    chan.publish("", t.name("q"), props={"expiration": "5000"})
    return chan.get(t.name("q"))


@behaviour("ttl.zero-queue-no-consumer")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-message-ttl": 0})
    chan.publish("", t.name("q"))
    return [chan.depth(t.name("q")), chan.bodies(t.name("q"))]


@behaviour("ttl.zero-queue-with-consumer")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-message-ttl": 0})
    chan.consume(t.name("q"), no_ack=True)
    chan.publish("", t.name("q"), "now")
    return chan.next()


@behaviour("ttl.zero-message-with-consumer")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.consume(t.name("q"), no_ack=True)
    chan.publish("", t.name("q"), "now", {"expiration": "0"})
    return chan.next()


@behaviour("ttl.zero-with-mandatory-is-routed")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-message-ttl": 0})
    chan.confirm()
    chan.publish("", t.name("q"), mandatory=True)
    return [chan.next(), chan.quiet(0.1)]


@behaviour("ttl.behind-a-longer-one")
def _(t):
    """A short message behind a long one, looked at by count after its time is over."""
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), "long", {"expiration": "60000"})
    chan.publish("", t.name("q"), "short", {"expiration": "100"})
    time.sleep(0.5)
    return [chan.depth(t.name("q")), chan.bodies(t.name("q"))]


@behaviour("ttl.unacked-does-not-expire-until-requeued")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-message-ttl": 150})
    chan.publish("", t.name("q"))
    got = chan.get(t.name("q"), no_ack=False)
    time.sleep(0.4)
    chan.send("basic.nack", tag=got.tag, requeue=True)
    return [got, chan.await_depth(t.name("q"), 0), chan.get(t.name("q"))]


@behaviour("ttl.purged-by-property-1-ms")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"))
    chan.publish("", t.name("q"), "m", {"expiration": "1"})
    return chan.await_depth(t.name("q"), 0)


for _name, _value in {"letters": "soon", "empty": "", "negative": "-1", "double": "1.5",
                      "spaces": " 5", "plus": "+5", "leading-zeros": "0005000",
                      "too-large": str(2**32), "largest": str(2**32 - 1),
                      "huge": "9" * 30, "trailing": "100ms"}.items():
    @behaviour("expiration." + _name)
    def _(t, value=_value):
        chan = t.chan()
        chan.declare(t.name("q"))
        chan.publish("", t.name("q"), "m", {"expiration": value})
        event = chan.get(t.name("q"))
        return event


@behaviour("expires.unused-queue-goes")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-expires": 300})
    until = time.monotonic() + 3
    # a passive declare counts as use, so look less often than the queue expires
    while time.monotonic() < until:
        time.sleep(0.6)
        answer = chan.declare(t.name("q"), passive=True)
        if answer.name == "channel.close":
            break
    return answer


@behaviour("expires.consumer-keeps-it")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-expires": 200})
    chan.consume(t.name("q"))
    time.sleep(0.6)
    return chan.depth(t.name("q"))


@behaviour("expires.get-renews")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-expires": 600})
    for _ in range(5):
        time.sleep(0.25)
        answer = chan.get(t.name("q"))
    return answer


@behaviour("expires.redeclare-renews")
def _(t):
    chan = t.chan()
    for _ in range(5):
        answer = chan.declare(t.name("q"), {"x-expires": 600})
        time.sleep(0.25)
    return answer


@behaviour("expires.publish-does-not-renew")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-expires": 400})
    for _ in range(8):
        chan.publish("", t.name("q"))
        time.sleep(0.1)
    return chan.declare(t.name("q"), passive=True)


@behaviour("expires.starts-when-consumer-leaves")
def _(t):
    chan = t.chan()
    chan.declare(t.name("q"), {"x-expires": 200})
    chan.consume(t.name("q"))
    chan.call("basic.cancel", consumer_tag="c")
    time.sleep(0.6)
    return chan.declare(t.name("q"), passive=True)


@behaviour("expires.messages-not-dead-lettered")
def _(t):
    chan = t.chan()
    chan.declare(t.name("dead"))
    chan.declare(t.name("q"), {"x-expires": 200, "x-dead-letter-exchange": "",
                               "x-dead-letter-routing-key": t.name("dead")})
    chan.publish("", t.name("q"))
    time.sleep(0.6)
    return chan.depth(t.name("dead"))
