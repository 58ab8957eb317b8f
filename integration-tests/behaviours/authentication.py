"""Who gets in, and what the others are told."""
from scene import behaviour
from wire import HEADER

CAPABLE = {"authentication_failure_close": True}


@behaviour("auth.plain")
def _(t):
    return t.raw().handshake()


@behaviour("auth.amqplain")
def _(t):
    return t.raw().handshake(mechanism="AMQPLAIN")


@behaviour("auth.plain-with-authzid")
def _(t):
    return t.raw().handshake(response="someone\0guest\0guest", timeout=5)


@behaviour("auth.wrong-password-with-capability")
def _(t):
    conn = t.raw()
    return [conn.handshake(password="wrong", capabilities=CAPABLE, timeout=5), conn.event(5)]


@behaviour("auth.wrong-password-without-capability")
def _(t):
    return t.raw().handshake(password="wrong", capabilities={}, timeout=5)


@behaviour("auth.unknown-user-with-capability")
def _(t):
    return t.raw().handshake(user="beh-nobody", capabilities=CAPABLE, timeout=5)


@behaviour("auth.amqplain-wrong-password")
def _(t):
    return t.raw().handshake(password="wrong", mechanism="AMQPLAIN", capabilities=CAPABLE,
                             timeout=5)


@behaviour("auth.plain-malformed-response")
def _(t):
    return t.raw().handshake(response="no zero bytes", capabilities=CAPABLE, timeout=5)


@behaviour("auth.plain-empty-response")
def _(t):
    return t.raw().handshake(response="", capabilities=CAPABLE, timeout=5)


@behaviour("auth.amqplain-malformed-response")
def _(t):
    return t.raw().handshake(mechanism="AMQPLAIN", response="garbage", capabilities=CAPABLE,
                             timeout=5)


@behaviour("auth.unknown-mechanism")
def _(t):
    return t.raw().handshake(mechanism="KERBEROS", timeout=5)


@behaviour("auth.mechanism-lower-case")
def _(t):
    return t.raw().handshake(mechanism="plain", timeout=5)


@behaviour("auth.mechanism-empty")
def _(t):
    return t.raw().handshake(mechanism="", timeout=5)


@behaviour("auth.empty-password-user")
def _(t):
    name = f"beh-user-00000000-{t.run_id}"
    t.undo.append(lambda: t.http("DELETE", f"/users/{name}"))
    status, _ = t.http("PUT", f"/users/{name}", {"password_hash": "", "tags": ""})
    return [status, t.raw().handshake(user=name, password="", timeout=5)]


@behaviour("auth.locale-unknown")
def _(t):
    conn = t.raw()
    conn.send_raw(HEADER)
    conn.event()
    conn.send(0, "connection.start-ok", client_properties={}, mechanism="PLAIN",
              response="\0guest\0guest", locale="de_DE")
    return conn.event().name


@behaviour("auth.update-secret")
def _(t):
    conn = t.conn()
    conn.send(0, "connection.update-secret", secret="guest", reason="renewed")
    return [conn.event(), t.chan(conn).alive()]


@behaviour("auth.update-secret-wrong")
def _(t):
    conn = t.conn()
    conn.send(0, "connection.update-secret", secret="not the password", reason="renewed")
    return conn.event(4)


@behaviour("auth.user-deleted-while-connected")
def _(t):
    user = t.user(permissions=(".*", ".*", ".*"))
    conn = t.conn(user=user, password="secret")
    t.chan(conn)
    status, _ = t.http("DELETE", f"/users/{user}")
    return [status, conn.event(5)]
