"""What the trials share: the gateway, other processes, WebSocket clients, and the table of results.

Every process that a trial starts is in a session of its own and is ended by its id. Nothing waits without a limit.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BASE_PORT = 18080
TIERS = ("primary", "secondary", "tertiary", "emergency")
FOXGLOVE = ("foxglove.sdk.v1", "foxglove.websocket.v1")


def program(name):
    """A program of the product: named by ROVERLINE_BIN, else of the release build, else of the debug build."""
    folders = [Path(os.environ["ROVERLINE_BIN"])] if "ROVERLINE_BIN" in os.environ else []
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for folder in folders + [target / "release", target / "debug"]:
        if (folder / name).exists():
            return str(folder / name)
    sys.exit(f"{name} is not built: cargo build --release --workspace --bins, or set ROVERLINE_BIN")


def until(what, seconds, condition, interval=0.02):
    """Waits until the condition is true; its value. Raises after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(interval)


class Process:
    """A process that ends with the trial."""

    def __init__(self, args, env=None, log=None, **options):
        self.log = log or tempfile.NamedTemporaryFile("w+", prefix="trial-", suffix=".log", delete=False)
        environment = dict(os.environ, **(env or {}))
        options.setdefault("stdout", self.log)
        self.child = subprocess.Popen(
            args, env=environment, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )

    def stop(self, patience=10):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def output(self):
        return Path(self.log.name).read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Gateway(Process):
    """`roverline-gateway up` with its four endpoints."""

    def __init__(self, source="dds", engine=None, config="", args=(), env=None):
        self.state = tempfile.mkdtemp(prefix="trial-gateway-")
        path = Path(self.state) / "roverline.toml"
        engine = f'[dds]\nengine = "{engine}"\n' if engine else ""
        path.write_text(config + "\n" + engine)
        self.ports = [BASE_PORT + n for n in range(4)]
        command = [program("roverline-gateway"), "up", "--config", str(path), "--state", self.state]
        command += ["--base-port", str(BASE_PORT), "--source", source, *args]
        environment = {"ROVERLINE_DIE_WITH_SUPERVISOR": "1", "XDG_RUNTIME_DIR": self.state, **(env or {})}
        super().__init__(command, environment)
        until("four endpoints serve", 30, lambda: all(self.health(port) for port in self.ports))

    @staticmethod
    def health(port):
        try:
            return get(port, "/health")
        except (OSError, ValueError):
            return None

    def pid(self, port):
        return get(port, "/status")["pid"]

    def urls(self):
        return [f"ws://127.0.0.1:{port}" for port in self.ports]


def get(port, path):
    """A document of the HTTP API."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


class Rosbridge:
    """A rosbridge client that keeps everything it has received."""

    def __init__(self, port, path="/rosbridge"):
        self.socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None)
        self.received, self.news = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for text in self.socket:
                message = json.loads(text)
                with self.news:
                    self.received.append(message)
                    self.news.notify_all()
        except Exception:  # The socket is closed: nothing more comes.
            pass

    def send(self, op, **fields):
        self.socket.send(json.dumps({"op": op, **fields}))

    def wait(self, matches, seconds=5):
        """The first message that matches; None after so many seconds."""
        with self.news:
            found = lambda: next((m for m in self.received if matches(m)), None)  # noqa: E731
            self.news.wait_for(found, seconds)
            return found()

    def count(self, matches):
        with self.news:
            return sum(1 for message in self.received if matches(message))

    def close(self):
        self.socket.close()


class Foxglove:
    """A Foxglove client: channels by topic, and the payloads of its subscriptions."""

    def __init__(self, port):
        self.socket = connect(f"ws://127.0.0.1:{port}", subprotocols=list(FOXGLOVE), max_size=None, compression=None)
        self.channels, self.services, self.payloads, self.on_payload = {}, {}, {}, None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for message in self.socket:
                if isinstance(message, bytes):
                    if message[0] == 1:
                        self._payload(struct.unpack_from("<I", message, 1)[0], message[13:])
                    continue
                message = json.loads(message)
                for channel in message.get("channels", []) if message["op"] == "advertise" else []:
                    self.channels[channel["topic"]] = channel
                for service in message.get("services", []) if message["op"] == "advertiseServices" else []:
                    self.services[service["name"]] = service
        except Exception:  # The socket is closed: nothing more comes.
            pass

    def _payload(self, subscription, payload):
        if self.on_payload:
            self.on_payload(subscription, payload)
        else:
            self.payloads.setdefault(subscription, []).append(payload)

    def subscribe(self, topic, seconds=10):
        """Subscribes to a topic; the number of the subscription, which is that of the channel."""
        channel = until(f"{topic} is advertised", seconds, lambda: self.channels.get(topic))
        number = channel["id"]
        self.socket.send(json.dumps({"op": "subscribe", "subscriptions": [{"id": number, "channelId": number}]}))
        return number

    def advertise(self, number, topic, schema):
        channel = {"id": number, "topic": topic, "encoding": "cdr", "schemaName": schema}
        self.socket.send(json.dumps({"op": "advertise", "channels": [channel]}))

    def publish(self, number, payload):
        self.socket.send(struct.pack("<BI", 1, number) + payload)

    def close(self):
        self.socket.close()


class Table:
    """Rows of a trial, printed as they come."""

    def __init__(self, title):
        print(title, flush=True)
        self.good, self.rows = 0, 0

    def row(self, name, trial):
        """Runs a row. The trial returns what it has seen, or raises."""
        start = time.monotonic()
        try:
            seen, holds = trial() or "", True
        except Exception as error:  # A row that fails does not end the others.
            seen, holds = f"{type(error).__name__}: {error}", False
        self.rows, self.good = self.rows + 1, self.good + holds
        print(f"{'ok  ' if holds else 'FAIL'} {name:<58} {time.monotonic() - start:6.1f} s  {seen}", flush=True)

    def end(self):
        print(f"{self.good} of {self.rows}", flush=True)
        return 0 if self.good == self.rows else 1


def check(holds, what):
    """Raises unless it holds."""
    if not holds:
        raise AssertionError(what)


def environment():
    """What the trials run on."""
    distribution = os.environ.get("ROS_DISTRO", "unknown")
    return f"ROS 2 {distribution}, {os.environ.get('RMW_IMPLEMENTATION', 'the default RMW')}"
