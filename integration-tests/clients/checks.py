"""Named checks for the Python clients: one line each and a closing line."""
import asyncio
import inspect
import os
import sys
import time
import traceback
import uuid

HOST = os.environ.get("AMQP_HOST", "127.0.0.1")
PORT = int(os.environ.get("AMQP_PORT", "5672"))
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def name(suffix):
    return f"clients-{suffix}-{uuid.uuid4().hex[:8]}"


def same(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def wait_for(condition, seconds=5):
    """Polls until the condition is true; a failed wait is a failed check."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def main():
    failed = 0
    for function in CHECKS:
        title = function.__name__.replace("_", " ")
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(asyncio.wait_for(function(), 30))
            else:
                function()
            print(f"ok {title}", flush=True)
        except Exception as error:
            failed += 1
            print(f"not ok {title}: {type(error).__name__}: {error}", flush=True)
            if os.environ.get("VERBOSE"):
                traceback.print_exc()
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
