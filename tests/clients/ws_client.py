#!/usr/bin/env python3
"""Connects to one endpoint with the `websockets` library, prints what it received, and exits.

    ws_client.py ws://127.0.0.1:8080 --seconds 10 '**'
    ws_client.py ws://127.0.0.1:8080 --seconds 3 --plain

It exits after `--seconds`, or when no sample has arrived for `--idle` seconds after the first one.
"""

import argparse
import asyncio
import json
import struct
import time

import websockets

SAMPLE, STORED, HEADER_BYTES = 1, 1, 48
STAMPED = {"sensor_msgs/msg/Imu", "sensor_msgs/msg/Image", "sensor_msgs/msg/NavSatFix"}


def counter(cdr):
    """The publisher's counter in header.frame_id: text after encapsulation and stamp."""
    (length,) = struct.unpack_from("<I", cdr, 12)
    text = cdr[16:16 + length - 1]
    return int(text) if text.isdigit() else None


class Topics:
    def __init__(self):
        self.info, self.seen = {}, {}

    def announced(self, message):
        for topic in message["up"]:
            self.info[topic["id"]] = topic

    def sample(self, message):
        _, flags, _, number = struct.unpack_from("<BBHI", message)
        seq = struct.unpack_from("<Q", message, 24)[0]
        topic = self.info[number]
        entry = self.seen.setdefault(topic["name"], {"count": 0, "stored": 0, "gaps": 0, "last": None})
        entry["count"] += 1
        entry["stored"] += bool(flags & STORED)
        if topic["type"] in STAMPED:
            seq = counter(message[HEADER_BYTES:])
        entry["gaps"] += entry["last"] is not None and seq != entry["last"] + 1
        entry["last"] = seq
        return topic["name"]


async def native(args):
    topics, end, last = Topics(), time.monotonic() + args.seconds, None
    dropped = 0
    async with websockets.connect(args.url, subprotocols=["roverline.v1"], max_size=None) as socket:
        await socket.send(json.dumps({"op": "subscribe", "topics": args.topics}))
        while time.monotonic() < end and (last is None or time.monotonic() - last < args.idle):
            message = await asyncio.wait_for(socket.recv(), 10)
            if isinstance(message, bytes):
                if message[0] == SAMPLE:
                    # The gateway's own topic, which never ends.
                    if topics.sample(message) != "/diagnostics":
                        last = time.monotonic()
                continue
            message = json.loads(message)
            if message["op"] == "topics":
                topics.announced(message)
            elif message["op"] == "subscribed":
                print(json.dumps({"ready": True}), flush=True)
            elif message["op"] == "dropped":
                dropped += sum(topic["count"] for topic in message["topics"])
    listed = sorted(topic["name"] for topic in topics.info.values())
    print(json.dumps({"topics": topics.seen, "listed": listed, "dropped": dropped}), flush=True)


async def plain(args):
    end, kinds, keys = time.monotonic() + args.seconds, {}, set()
    async with websockets.connect(args.url) as socket:
        print(json.dumps({"ready": True}), flush=True)
        while time.monotonic() < end:
            message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            kinds[message["type"]] = kinds.get(message["type"], 0) + 1
            data = message.get("data", {})
            keys |= {key for key, value in data.items() if value is not None}
    print(json.dumps({"kinds": kinds, "keys": sorted(keys)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("topics", nargs="*", default=["**"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--idle", type=float, default=2.0)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_intermixed_args()
    asyncio.run(plain(args) if args.plain else native(args))


if __name__ == "__main__":
    main()
