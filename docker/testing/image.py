"""The image: made of the binaries, small, and the same from either Dockerfile."""
import json
import os
import subprocess

from checks import check, same
from testing.workplace import HERE, IMAGE, PATHS, PROXY_IMAGE, at_the_end, docker, run

SIZE_MAX_MB = 30


@check
def the_image_is_built_of_static_binaries():
    run([f"{HERE}/prebuilt", PATHS["binaries"], IMAGE])
    at_the_end("docker", "image", "rm", IMAGE)
    said = docker("run", "--rm", "--entrypoint", "leveretctl", IMAGE, "--version")
    same(said.split()[0], "leveretctl", "what it runs")


@check
def the_image_is_small_and_its_user_is_not_root():
    image = json.loads(docker("image", "inspect", IMAGE))[0]
    megabytes = image["Size"] / 1e6
    print(f"# the image has {megabytes:.1f} MB", flush=True)
    if megabytes >= SIZE_MAX_MB:
        raise AssertionError(f"the image has {megabytes:.1f} MB, wanted less than {SIZE_MAX_MB}")
    same(image["Config"]["User"], "10001:10001", "user")


@check
def both_dockerfiles_make_the_same():
    rest = []
    for name in ("Dockerfile", "prebuilt.Dockerfile"):
        with open(os.path.join(HERE, name), encoding="utf-8") as file:
            head, _, tail = file.read().partition("# From here on the same as in ")
        same(head.count("\nCOPY "), {"Dockerfile": 3, "prebuilt.Dockerfile": 2}[name], f"{name}: files copied")
        rest.append(tail.partition("\n")[2])
    same(rest[0], rest[1], "what both say")


@check
def a_binary_that_is_not_static_is_refused():
    wrong = os.path.join(PATHS["work"], "dynamic")
    os.makedirs(wrong)
    for name in ("leveret", "leveretctl"):
        os.symlink("/bin/sh", os.path.join(wrong, name))
    done = subprocess.run([f"{HERE}/prebuilt", wrong, IMAGE], capture_output=True, text=True, check=False)
    same((done.returncode, "is not static" in done.stderr), (1, True), done.stderr)


def stand_in_for_haproxy():
    """Debian's haproxy as an image that is started like the official one, which cannot be pulled in CI."""
    layout = os.path.join(PATHS["work"], "haproxy")
    libraries = [word for word in run(["ldd", "/usr/sbin/haproxy"]).split() if word.startswith("/")]
    for path in ["/usr/sbin/haproxy", *libraries]:
        os.makedirs(layout + os.path.dirname(path), exist_ok=True)
        run(["cp", "-L", path, layout + path])
    with open(os.path.join(layout, "Dockerfile"), "w", encoding="utf-8") as file:
        file.write(
            "FROM scratch\nCOPY . /\nUSER 99:99\n"
            'CMD ["/usr/sbin/haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]\n'
        )
    docker("build", "-q", "-t", PROXY_IMAGE, layout)
    at_the_end("docker", "image", "rm", PROXY_IMAGE)
