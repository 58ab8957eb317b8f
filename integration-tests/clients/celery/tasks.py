"""The Celery application that the worker runs and the check calls."""
import os

from celery import Celery

HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = os.environ.get("AMQP_PORT", "5672")
QUEUE = os.environ.get("CLIENTS_CELERY_QUEUE", "clients-celery")

app = Celery("tasks", broker=f"amqp://guest:guest@{HOST}:{PORT}//", backend="rpc://")
app.conf.update(task_default_queue=QUEUE, broker_connection_retry_on_startup=False,
                task_default_delivery_mode=1, task_queue_max_priority=5, task_acks_late=True,
                worker_prefetch_multiplier=2, worker_send_task_events=True)


@app.task
def add(a, b):
    return a + b


@app.task(bind=True, max_retries=2)
def flaky(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task
def fails():
    raise ValueError("as it should")
