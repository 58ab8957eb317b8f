"""Runs the behaviours against one broker and prints what was seen, in fixed order."""
import concurrent.futures
import importlib
import json
import secrets
import sys
import time

from scene import BEHAVIOURS, Scene, show

TOPICS = ["negotiation", "frames", "channels", "authentication", "permissions", "exchanges",
          "routing", "headers", "queues", "exclusivity", "arguments", "expiry", "limits",
          "deadletters", "consumers", "activity", "deliveries", "publishing", "transactions",
          "replies", "contents", "quorum", "policies", "plugins"]
WORKERS = 8


def observe(name, target, run_id):
    scene = Scene(name, *target, run_id)
    try:
        seen = show(BEHAVIOURS[name](scene), run_id)
    except Exception as error:  # whatever a broker does must not stop the others
        seen = {"error": show(f"{type(error).__name__}: {error}", run_id)}
    try:
        scene.cleanup()
    except Exception as error:
        print(f"{name}: cleaning up: {error!r}", file=sys.stderr)
    return seen


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: run HOST:PORT[:HTTPPORT] [name-prefix ...]")
    host, port, *http_port = sys.argv[1].split(":")
    target = host, int(port), int(http_port[0]) if http_port else None
    for topic in TOPICS:
        importlib.import_module(topic)
    prefixes = tuple(sys.argv[2:]) or ("",)
    names = [n for n in BEHAVIOURS if n.startswith(prefixes)]
    run_id, began = secrets.token_hex(4), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        seen = [(name, pool.submit(observe, name, target, run_id)) for name in names]
        for name, future in seen:
            print(json.dumps({"name": name, "observed": future.result()}, ensure_ascii=False),
                  flush=True)
    print(f"{len(names)} behaviours in {time.monotonic() - began:.0f} s", file=sys.stderr)


main()
