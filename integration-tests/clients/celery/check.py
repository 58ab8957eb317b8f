"""kombu as a library, and Celery with a real worker process."""
import os
import subprocess
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), HERE]
os.environ["CLIENTS_CELERY_QUEUE"] = f"clients-celery-{uuid.uuid4().hex[:8]}"
import kombu
from kombu.pools import producers

import tasks
from checks import HOST, PORT, check, main, name, same, wait_for

URL = f"amqp://guest:guest@{HOST}:{PORT}//"


def connection(**options):
    return kombu.Connection(URL, **options)


def simple(conn, suffix):
    return conn.SimpleQueue(name(suffix), queue_opts={"auto_delete": True, "durable": False},
                            exchange_opts={"auto_delete": True, "durable": False})


def finish(conn, queue):
    queue.close()
    conn.default_channel.queue_delete(queue.queue.name)


@check
def kombu_wrong_password():
    import amqp
    try:
        kombu.Connection(URL.replace("guest@", "wrong@")).connect()
    except amqp.exceptions.AccessRefused as error:
        same(error.code, 403)
        return
    raise AssertionError("let in")


@check
def kombu_simple_queue():
    with connection() as conn:
        queue = simple(conn, "simple")
        for n in range(3):
            queue.put({"n": n})
        for n in range(3):
            message = queue.get(timeout=5)
            same(message.payload, {"n": n})
            message.ack()
        finish(conn, queue)


@check
def kombu_publish_with_confirms_and_consume():
    seen = []
    with connection(transport_options={"confirm_publish": True}) as conn:
        exchange = kombu.Exchange(name("x"), "topic", durable=False, auto_delete=True)
        queue = kombu.Queue(name("q"), exchange, "a.#", durable=False, auto_delete=True)
        with producers[conn].acquire(block=True) as producer, \
                conn.Consumer(queue, accept=["json", "pickle"], prefetch_count=10,
                              callbacks=[lambda body, message: (seen.append(body), message.ack())]):
            for n in range(100):
                producer.publish({"n": n}, exchange=exchange, routing_key="a.b", declare=[queue])
            while len(seen) < 100:
                conn.drain_events(timeout=5)
    same([body["n"] for body in seen], list(range(100)))


@check
def kombu_large_body_compressed_and_plain():
    with connection() as conn:
        queue = simple(conn, "big")
        body = "leveret " * 200000
        queue.put(body, compression="gzip")
        queue.put(body)
        for _ in range(2):
            message = queue.get(timeout=5)
            same(message.payload == body, True)
            message.ack()
        finish(conn, queue)


@check
def kombu_requeue_and_reject():
    with connection() as conn:
        queue = simple(conn, "again")
        queue.put("m")
        queue.get(timeout=5).requeue()
        message = queue.get(timeout=5)
        same(message.delivery_info["redelivered"], True)
        message.reject()
        finish(conn, queue)


@check
def kombu_heartbeat():
    import time
    with connection(heartbeat=2) as conn:
        conn.connect()
        until = time.monotonic() + 7
        while time.monotonic() < until:
            conn.heartbeat_check()
            try:
                conn.drain_events(timeout=0.5)
            except TimeoutError:
                pass
        conn.default_channel.queue_declare("", exclusive=True)


class Worker:
    """`celery worker` as a process of its own, with its events and remote control."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "WARNING",
             "--concurrency", "2", "--without-mingle", "-n", f"{name('worker')}@clients"],
            cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: self.process.poll() is not None
                     or tasks.app.control.ping(timeout=0.5), 20)
            if self.process.poll() is not None:
                raise AssertionError("worker ended: " + self.process.stderr.read()[-500:])
        except Exception as error:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"no worker: {error}") from error
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        with connection() as conn:
            conn.default_channel.queue_delete(tasks.QUEUE)


@check
def celery_add():
    same(tasks.add.delay(20, 22).get(timeout=10), 42)


@check
def celery_many_results():
    results = [tasks.add.delay(n, n) for n in range(50)]
    same([result.get(timeout=15) for result in results], [2 * n for n in range(50)])


@check
def celery_priority_and_countdown():
    same(tasks.add.apply_async((1, 2), countdown=0.2, priority=4).get(timeout=10), 3)


@check
def celery_retries():
    same(tasks.flaky.delay().get(timeout=15), 2)


@check
def celery_failure_comes_back():
    try:
        tasks.fails.delay().get(timeout=10)
    except ValueError as error:
        same(str(error), "as it should")
        return
    raise AssertionError("did not fail")


@check
def celery_group():
    from celery import group
    same(sorted(group(tasks.add.s(n, 1) for n in range(5))().get(timeout=10)), [1, 2, 3, 4, 5])


@check
def celery_inspect_and_control():
    replies = tasks.app.control.inspect(timeout=2).active_queues()
    same([q["name"] for qs in replies.values() for q in qs], [tasks.QUEUE])


if __name__ == "__main__":
    try:
        with Worker():
            main()
    except AssertionError as error:
        # the worker did not start: its checks fail, kombu's still run
        print(f"# {error}")
        main()
