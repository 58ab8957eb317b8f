"""aio-pika: what users of the asyncio client do."""
import asyncio
import datetime
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import aio_pika
import aiormq.exceptions as aiormq_exceptions
from aio_pika import DeliveryMode, ExchangeType, Message, exceptions

from checks import HOST, PORT, check, main, name, same


def connect(password="guest", robust=False, **options):
    opener = aio_pika.connect_robust if robust else aio_pika.connect
    return opener(host=HOST, port=PORT, login="guest", password=password, **options)


async def get(queue, no_ack=True):
    """The next message, waited for."""
    for _ in range(200):
        message = await queue.get(no_ack=no_ack, fail=False)
        if message is not None:
            return message
        await asyncio.sleep(0.02)
    raise AssertionError("no message")


async def publish(channel, queue, body=b"m", **props):
    return await channel.default_exchange.publish(Message(body, **props), queue.name)


@check
async def connect_robust_and_close():
    connection = await connect(robust=True)
    same(connection.is_closed, False)
    await connection.close()
    same(connection.is_closed, True)


@check
async def wrong_password():
    try:
        await connect("wrong")
    except exceptions.AMQPConnectionError as error:
        assert "ACCESS_REFUSED" in str(error) or "403" in str(error), error
        return
    raise AssertionError("let in")


@check
async def declare_bind_publish_get():
    async with await connect() as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name("x"), ExchangeType.TOPIC, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "a.#")
        await exchange.publish(Message(b"hello"), "a.b.c")
        message = await get(queue)
        same((message.body, message.routing_key), (b"hello", "a.b.c"))


@check
async def thousand_confirms_in_flight():
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(exclusive=True)
        answers = await asyncio.gather(*(publish(channel, queue, delivery_mode=DeliveryMode.PERSISTENT)
                                         for _ in range(1000)))
        same({type(answer).__name__ for answer in answers}, {"Ack"})
        again = await channel.declare_queue(queue.name, passive=True)
        same(again.declaration_result.message_count, 1000)


@check
async def mandatory_unroutable():
    async with await connect() as connection:
        channel = await connection.channel(on_return_raises=True)
        try:
            await channel.default_exchange.publish(Message(b"back"), "clients-nowhere")
        except exceptions.PublishError as error:
            assert "NO_ROUTE" in str(error), error
            return
        raise AssertionError("not returned")


@check
async def consume_with_prefetch():
    async with await connect() as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=2)
        queue = await channel.declare_queue(exclusive=True)
        for n in range(10):
            await publish(channel, queue, str(n).encode())
        seen = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    seen.append(int(message.body))
                if len(seen) == 10:
                    break
        same(seen, list(range(10)))


@check
async def nack_reject_redelivered():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await publish(channel, queue, b"a")
        await (await get(queue, no_ack=False)).nack(requeue=True)
        message = await get(queue, no_ack=False)
        same(message.redelivered, True)
        await message.reject(requeue=False)
        same(await queue.get(fail=False), None)


@check
async def headers_round_trip():
    headers = {"bool": True, "int": -5, "long": 2**40, "text": "größe", "float": 1.5,
               "none": None, "list": [1, "a"], "table": {"n": {"m": 1}},
               "time": datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)}
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await publish(channel, queue, headers=headers)
        got = dict((await get(queue)).headers)
        same(got, headers)


@check
async def large_and_empty_bodies():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for body in (os.urandom(3 << 20), b""):
            await publish(channel, queue, body)
            same((await get(queue)).body == body, True, f"{len(body)} bytes")


@check
async def rpc_pattern():
    from aio_pika.patterns import RPC
    async with await connect() as server, await connect() as client:
        serving = await RPC.create(await server.channel())
        calling = await RPC.create(await client.channel())

        async def double(*, number):
            return number * 2
        method = name("double")
        await serving.register(method, double, auto_delete=True)
        same(await calling.call(method, kwargs={"number": 21}), 42)
        await serving.close()
        await calling.close()


@check
async def direct_reply_to():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        replies = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        answer = asyncio.get_running_loop().create_future()
        await replies.consume(lambda m: answer.set_result(m.body), no_ack=True)
        await publish(channel, queue, b"ask", reply_to="amq.rabbitmq.reply-to")
        request = await get(queue)
        # the broker returns mandatory messages sent to a direct reply address
        await channel.default_exchange.publish(Message(b"answer"), request.reply_to, mandatory=False)
        same(await asyncio.wait_for(answer, 5), b"answer")


@check
async def exchange_to_exchange():
    async with await connect() as connection:
        channel = await connection.channel()
        first = await channel.declare_exchange(name("a"), ExchangeType.FANOUT, auto_delete=True)
        second = await channel.declare_exchange(name("b"), ExchangeType.FANOUT, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await second.bind(first)
        await queue.bind(second)
        await first.publish(Message(b"through"), "")
        same((await get(queue)).body, b"through")


@check
async def transactions():
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await publish(channel, queue, b"yes")
        try:
            async with channel.transaction():
                await publish(channel, queue, b"no")
                raise KeyError
        except KeyError:
            pass
        same((await get(queue)).body, b"yes")
        same(await queue.get(fail=False), None)


@check
async def channel_errors_and_reopening():
    async with await connect() as connection:
        for error, act in (
                (exceptions.ChannelNotFoundEntity, lambda c: c.declare_queue("clients-x", passive=True)),
                (aiormq_exceptions.ChannelAccessRefused, lambda c: c.declare_queue("amq.clients"))):
            channel = await connection.channel()
            try:
                await act(channel)
            except error:
                continue
            raise AssertionError(f"no {error.__name__}")
        channel, queue = await connection.channel(), name("q")
        await channel.declare_queue(queue, exclusive=True)
        try:
            await channel.declare_queue(queue, exclusive=True, arguments={"x-max-length": 1})
        except exceptions.ChannelPreconditionFailed:
            pass
        async with await connect() as other:
            try:
                await (await other.channel()).declare_queue(queue, passive=True)
            except aiormq_exceptions.ChannelLockedResource:
                return
        raise AssertionError("not locked")


@check
async def ttl_and_dead_letters():
    async with await connect() as connection:
        channel = await connection.channel()
        dead = await channel.declare_queue(exclusive=True)
        queue = await channel.declare_queue(exclusive=True, arguments={
            "x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name})
        await publish(channel, queue, b"late")
        message = await get(dead)
        same((message.body, message.headers["x-death"][0]["reason"]), (b"late", "expired"))


@check
async def consumer_cancelled_on_queue_delete():
    async with await connect() as connection, await connect() as other:
        channel, queue_name = await connection.channel(), name("q")
        queue = await channel.declare_queue(queue_name)
        await queue.consume(lambda m: None)
        await (await other.channel()).queue_delete(queue_name)
        # the channel stays usable after the broker's cancel
        again = await channel.declare_queue(queue_name, exclusive=True)
        same(again.declaration_result.consumer_count, 0)


@check
async def heartbeats_keep_an_idle_connection():
    connection = await connect(heartbeat=2)
    await asyncio.sleep(7)
    await (await connection.channel()).declare_queue(exclusive=True)
    await connection.close()


main()
