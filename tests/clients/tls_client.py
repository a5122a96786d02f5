"""TLS as Python's standard library has it: versions, names, expiry, and a session across a reload.

    tls_client.py checks PORT CA        one connection per case
    tls_client.py reload PORT CA        holds a session until the certificate changes
    tls_client.py late PORT CA          a slow handshake, then no request: seconds until the end
    tls_client.py try HOST PORT CA [CERT KEY]   one request: the status, or why there is none
"""

import hashlib
import json
import os
import socket
import ssl
import sys
import time
import warnings

TIMEOUT_S = 10


def context(ca, lowest=None, highest=None, cert=None):
    made = ssl.create_default_context(cafile=ca)
    if lowest is not None:
        # OpenSSL itself refuses old versions at its usual level.
        made.set_ciphers("DEFAULT@SECLEVEL=0")
        made.minimum_version = lowest
        made.maximum_version = highest
    if cert:
        made.load_cert_chain(*cert)
    return made


def connect(port, ca, name="localhost", host="127.0.0.1", **options):
    plain = socket.create_connection((host, port), timeout=TIMEOUT_S)
    return context(ca, **options).wrap_socket(plain, server_hostname=name)


def get(sock, path="/health", host="localhost"):
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    return int(answer.split(b" ")[1])


def put(sock, host):
    head = f"PUT /api/v2/kv/goal HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    sock.sendall((head + "Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1").encode())
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    return int(answer.split(b" ")[1])


def fails(attempt):
    try:
        attempt()
    except ssl.SSLError as error:
        return error.reason or str(error)
    except OSError as error:
        return str(error)
    return None


def accepts(port, ca, cipher):
    """Whether the endpoint agrees on this cipher suite of TLS 1.2."""
    made = context(ca, lowest=ssl.TLSVersion.TLSv1_2, highest=ssl.TLSVersion.TLSv1_2)
    try:
        made.set_ciphers(cipher + ":@SECLEVEL=0")
    except ssl.SSLError:
        return False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as plain:
            with made.wrap_socket(plain, server_hostname="localhost"):
                return True
    except OSError:
        return False


def ciphers(port, ca):
    """Of all suites of TLS 1.2 that OpenSSL has, those that the endpoint agrees on."""
    known = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    known.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    names = [one["name"] for one in known.get_ciphers() if one["protocol"] != "TLSv1.3"]
    return {"tried": len(names), "accepted": sorted(name for name in names if accepts(port, ca, name))}


def checks(port, ca):
    versions = {}
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        with connect(port, ca, lowest=version, highest=version) as sock:
            versions[sock.version()] = get(sock)
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        plain = get(sock)
    old = fails(lambda: connect(port, ca, lowest=ssl.TLSVersion.TLSv1, highest=ssl.TLSVersion.TLSv1_1))
    return {
        "versions": versions,
        "plain": plain,
        "old": old,
        "ciphers": ciphers(port, ca),
        "wrong_name": fails(lambda: connect(port, ca, name="rover.example")),
        "unknown_authority": fails(lambda: connect(port, None)),
    }


def fingerprint(sock):
    return hashlib.sha256(sock.getpeercert(binary_form=True)).hexdigest()


def open_session(port, ca):
    sock = connect(port, ca)
    sock.sendall(
        b"GET /telemetry HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert b" 101 " in head, head
    return sock


def frame(sock):
    def read(count):
        data = b""
        while len(data) < count:
            chunk = sock.recv(count - len(data))
            assert chunk, "the session was closed"
            data += chunk
        return data

    first, length = read(2)
    if length == 126:
        length = int.from_bytes(read(2), "big")
    elif length == 127:
        length = int.from_bytes(read(8), "big")
    return first & 0x0F, read(length)


def reload(port, ca):
    session = open_session(port, ca)
    frame(session)
    print(json.dumps({"first": fingerprint(session)}), flush=True)
    end = time.monotonic() + 30
    changed = fingerprint(session)
    while changed == fingerprint(session) and time.monotonic() < end:
        frame(session)
        with connect(port, ca) as other:
            changed = fingerprint(other)
    received = [frame(session)[0] for _ in range(5)]
    return {"second": changed, "received": received}


def late(port, ca):
    start = time.monotonic()
    plain = socket.create_connection(("127.0.0.1", port), timeout=4 * TIMEOUT_S)
    time.sleep(3.5)
    with context(ca).wrap_socket(plain, server_hostname="localhost") as sock:
        try:
            sock.recv(1)
        except OSError:
            # Closed without a word.
            pass
    return {"after": time.monotonic() - start}


def attempt(host, port, ca, *cert):
    try:
        with connect(port, ca, name=host, host=host, cert=cert) as sock:
            status = get(sock, "/health", host)
        with connect(port, ca, name=host, host=host, cert=cert) as sock:
            return {"status": status, "put": put(sock, host)}
    except (OSError, IndexError) as error:
        return {"error": getattr(error, "reason", None) or str(error)}


def main():
    os.environ.pop("SSLKEYLOGFILE", None)
    # Old versions are offered on purpose.
    warnings.simplefilter("ignore", DeprecationWarning)
    kind, *args = sys.argv[1:]
    if kind == "try":
        host, port, *rest = args
        result = attempt(host, int(port), *rest)
    else:
        port, ca = args
        result = {"checks": checks, "reload": reload, "late": late}[kind](int(port), ca)
    print(json.dumps(result), flush=True)


main()
