"""pika: what users of the blocking connection do."""
import contextlib
import datetime
import decimal
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import pika
from pika import exceptions

from checks import HOST, PORT, check, main, name, same, wait_for


def parameters(**options):
    options.setdefault("credentials", pika.PlainCredentials("guest", "guest"))
    return pika.ConnectionParameters(HOST, PORT, **options)


@contextlib.contextmanager
def connected(**options):
    connection = pika.BlockingConnection(parameters(**options))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


@contextlib.contextmanager
def channel(**options):
    with connected(**options) as connection:
        yield connection.channel()


def scratch(ch, arguments=None):
    return ch.queue_declare("", exclusive=True, arguments=arguments).method.queue


def publish(ch, queue, body=b"m", mandatory=False, **props):
    ch.basic_publish("", queue, body, pika.BasicProperties(**props), mandatory=mandatory)


def get(ch, queue, auto_ack=True):
    """The next message, waited for."""
    return wait_for(lambda: (lambda got: got if got[0] else None)(ch.basic_get(queue, auto_ack)))


def refused(code, ch, act):
    """The act closes its channel with this code; the connection opens another one."""
    try:
        act(ch)
    except exceptions.ChannelClosedByBroker as error:
        same(error.reply_code, code, "reply code")
        return error.reply_text
    raise AssertionError("not refused")


@check
def connect_and_close():
    with connected() as connection:
        same(connection.is_open, True)
    same(connection.is_closed, True)


@check
def wrong_password():
    try:
        with connected(credentials=pika.PlainCredentials("guest", "wrong")):
            pass
    except exceptions.ProbableAuthenticationError as error:
        assert "403" in str(error), error
        return
    raise AssertionError("let in")


@check
def missing_vhost():
    try:
        with connected(virtual_host="clients-none"):
            pass
    except exceptions.ProbableAccessDeniedError as error:
        assert "530" in str(error), error
        return
    raise AssertionError("let in")


@check
def declare_bind_publish_get():
    with channel() as ch:
        exchange, queue = name("x"), scratch(ch)
        ch.exchange_declare(exchange, "topic", auto_delete=True)
        ch.queue_bind(queue, exchange, "a.*")
        ch.basic_publish(exchange, "a.b", b"hello")
        ch.basic_publish(exchange, "b.b", b"not this")
        method, _, body = get(ch, queue)
        same((body, method.routing_key, method.message_count), (b"hello", "a.b", 0))
        same(ch.basic_get(queue)[0], None)


@check
def passive_declare_counts():
    with channel() as ch:
        queue = scratch(ch)
        ch.confirm_delivery()
        for _ in range(3):
            publish(ch, queue)
        same(ch.queue_declare(queue, passive=True).method.message_count, 3)
        same(ch.queue_purge(queue).method.message_count, 3)


@check
def confirms_single_and_thousand():
    with channel() as ch:
        queue = scratch(ch)
        ch.confirm_delivery()
        for n in range(1000):
            publish(ch, queue, str(n).encode())
        same(ch.queue_declare(queue, passive=True).method.message_count, 1000)


@check
def confirms_thousand_in_flight():
    """The callback-driven connection, with no publish waiting for its confirm."""
    sure, failure = set(), []

    def on_confirm(frame):
        method = frame.method
        first = max(sure, default=0) + 1 if method.multiple else method.delivery_tag
        if not isinstance(method, pika.spec.Basic.Ack):
            failure.append(method)
        sure.update(range(first, method.delivery_tag + 1))
        if len(sure) == 1000 or failure:
            connection.close()

    def on_channel(ch):
        def start(_frame=None):
            for _ in range(1000):
                ch.basic_publish("", "clients-nowhere", b"m")
        ch.confirm_delivery(on_confirm, callback=start)

    connection = pika.SelectConnection(
        parameters(), on_open_callback=lambda c: c.channel(on_open_callback=on_channel))
    connection.ioloop.call_later(10, lambda: connection.is_open and connection.close())
    connection.add_on_close_callback(lambda *_: connection.ioloop.stop())
    connection.ioloop.start()
    same((len(sure), failure), (1000, []))


@check
def mandatory_unroutable():
    with channel() as ch:
        ch.confirm_delivery()
        try:
            publish(ch, "clients-nowhere", b"back", mandatory=True)
        except exceptions.UnroutableError as error:
            same(error.messages[0].body, b"back")
            same(error.messages[0].method.reply_code, 312)
            return
        raise AssertionError("not returned")


@check
def reject_publish_is_a_nack():
    with channel() as ch:
        queue = scratch(ch, {"x-max-length": 1, "x-overflow": "reject-publish"})
        ch.confirm_delivery()
        publish(ch, queue)
        try:
            publish(ch, queue)
        except exceptions.NackError:
            return
        raise AssertionError("not nacked")


@check
def consume_with_prefetch_and_ack():
    with channel() as ch:
        queue, seen = scratch(ch), []
        for n in range(10):
            publish(ch, queue, str(n).encode())
        ch.basic_qos(prefetch_count=3)

        def on_message(ch, method, _props, body):
            seen.append(int(body))
            ch.basic_ack(method.delivery_tag)
            if len(seen) == 10:
                ch.stop_consuming()
        ch.basic_consume(queue, on_message)
        ch.connection.call_later(5, ch.stop_consuming)
        ch.start_consuming()
        same(seen, list(range(10)))
        same(ch.queue_declare(queue, passive=True).method.message_count, 0)


@check
def nack_and_reject():
    with channel() as ch:
        queue = scratch(ch)
        for body in (b"a", b"b"):
            publish(ch, queue, body)
        method, _, _ = get(ch, queue, auto_ack=False)
        ch.basic_nack(method.delivery_tag, requeue=True)
        method, _, body = get(ch, queue, auto_ack=False)
        same((body, method.redelivered), (b"a", True))
        ch.basic_reject(method.delivery_tag, requeue=False)
        same(get(ch, queue)[2], b"b")
        same(ch.basic_get(queue)[0], None)


@check
def multiple_ack():
    with channel() as ch:
        queue = scratch(ch)
        for _ in range(5):
            publish(ch, queue)
        tags = [get(ch, queue, auto_ack=False)[0].delivery_tag for _ in range(5)]
        ch.basic_ack(tags[3], multiple=True)
        ch.basic_recover(requeue=True)
        wait_for(lambda: ch.queue_declare(queue, passive=True).method.message_count == 1)


@check
def headers_of_every_type():
    headers = {
        "bool": True, "int": -5, "long": 2**40, "text": "größe", "bytes": b"\x00\xff",
        "decimal": decimal.Decimal("3.14"), "none": None,
        "time": datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "list": [1, "a", [True]], "table": {"inner": {"n": 1}}}
    with channel() as ch:
        queue = scratch(ch)
        publish(ch, queue, headers=headers)
        got = get(ch, queue)[1].headers
        if got["time"].tzinfo is None:
            got["time"] = got["time"].replace(tzinfo=datetime.timezone.utc)
        same(got, headers)


@check
def properties_round_trip():
    props = dict(content_type="text/plain", content_encoding="utf-8", delivery_mode=2, priority=3,
                 correlation_id="c", reply_to="r", expiration="60000", message_id="m",
                 timestamp=1700000000, type="t", user_id="guest", app_id="a")
    with channel() as ch:
        queue = scratch(ch)
        publish(ch, queue, **props)
        got = get(ch, queue)[1]
        same({key: getattr(got, key) for key in props}, props)


@check
def large_and_empty_bodies():
    with channel() as ch:
        queue = scratch(ch)
        for body in (os.urandom(3 << 20), b""):
            publish(ch, queue, body)
            same(get(ch, queue)[2] == body, True, f"{len(body)} bytes")


@check
def small_frames_large_body():
    with channel(frame_max=4096) as ch:
        queue, body = scratch(ch), os.urandom(1 << 20)
        publish(ch, queue, body)
        same(get(ch, queue)[2] == body, True)


@check
def direct_reply_to():
    with channel() as client, channel() as server:
        queue, answers = scratch(server), []
        server.basic_consume(queue, lambda ch, _m, props, body: ch.basic_publish(
            "", props.reply_to, body.upper(),
            pika.BasicProperties(correlation_id=props.correlation_id)), auto_ack=True)
        client.basic_consume("amq.rabbitmq.reply-to", lambda _c, _m, props, body: answers.append(
            (props.correlation_id, body)), auto_ack=True)
        publish(client, queue, b"ask", reply_to="amq.rabbitmq.reply-to", correlation_id="1")
        until = time.monotonic() + 5
        while not answers and time.monotonic() < until:
            server.connection.process_data_events(0.02)
            client.connection.process_data_events(0.02)
        same(answers, [("1", b"ASK")])


@check
def exchange_to_exchange():
    with channel() as ch:
        first, second, queue = name("a"), name("b"), scratch(ch)
        ch.exchange_declare(first, "fanout", auto_delete=True)
        ch.exchange_declare(second, "fanout", auto_delete=True)
        ch.exchange_bind(second, first)
        ch.queue_bind(queue, second)
        ch.basic_publish(first, "", b"through")
        same(get(ch, queue)[2], b"through")
        ch.exchange_unbind(second, first)


@check
def tx_commit_and_rollback():
    with channel() as ch:
        queue = scratch(ch)
        ch.tx_select()
        publish(ch, queue, b"no")
        ch.tx_rollback()
        publish(ch, queue, b"yes")
        same(ch.basic_get(queue)[0], None)
        ch.tx_commit()
        same(get(ch, queue)[2], b"yes")


@check
def consumer_cancelled_on_queue_delete():
    with channel() as ch, channel() as other:
        queue, cancelled = name("q"), []
        ch.queue_declare(queue)
        ch.add_on_cancel_callback(cancelled.append)
        ch.basic_consume(queue, lambda *_: None)
        other.queue_delete(queue)
        wait_for(lambda: ch.connection.process_data_events(0.02) or cancelled)
        same(cancelled[0].method.NAME, "Basic.Cancel")


@check
def channel_errors_and_reopening():
    with connected() as connection, connected() as other:
        refused(404, connection.channel(), lambda ch: ch.queue_declare("clients-x", passive=True))
        refused(403, connection.channel(), lambda ch: ch.queue_declare("amq.clients"))
        queue = name("q")
        connection.channel().queue_declare(queue, exclusive=True)
        refused(406, connection.channel(), lambda ch: ch.queue_declare(
            queue, exclusive=True, arguments={"x-max-length": 1}))
        text = refused(405, other.channel(), lambda ch: ch.queue_declare(queue, passive=True))
        assert "RESOURCE_LOCKED" in text, text
        same(connection.channel().queue_declare(queue, passive=True).method.consumer_count, 0)


@check
def double_ack_is_406():
    with channel() as ch:
        queue = scratch(ch)
        publish(ch, queue)
        tag = get(ch, queue, auto_ack=False)[0].delivery_tag
        ch.basic_ack(tag)
        ch.basic_ack(tag)
        refused(406, ch, lambda ch: ch.queue_declare(queue, passive=True))


@check
def ttl_and_dead_letters():
    with channel() as ch:
        dead = scratch(ch)
        queue = scratch(ch, {"x-message-ttl": 50, "x-dead-letter-exchange": "",
                             "x-dead-letter-routing-key": dead})
        publish(ch, queue, b"late")
        _, props, body = get(ch, dead)
        death = props.headers["x-death"][0]
        same((body, death["queue"], death["reason"], death["count"]), (b"late", queue, "expired", 1))


@check
def priority_queue():
    with channel() as ch:
        queue = scratch(ch, {"x-max-priority": 10})
        ch.confirm_delivery()
        for priority in (1, 9, 5):
            publish(ch, queue, str(priority).encode(), priority=priority)
        same([get(ch, queue)[2] for _ in range(3)], [b"9", b"5", b"1"])


@check
def heartbeats_keep_an_idle_connection():
    with connected(heartbeat=2) as connection:
        until = time.monotonic() + 7
        while time.monotonic() < until:
            connection.process_data_events(0.2)
        connection.channel().queue_declare("", exclusive=True)


main()
