#!/usr/bin/env python3
"""A node that publishes /imu/data at 50 Hz, and beside it somebody on the network who sends damaged and hostile RTPS
packets to every port that endpoints of this domain may have. Loopback only, bounded in time and number.

Prints a line when the node publishes, one when the attack begins, one when it has ended; then the node goes on."""

import argparse
import os
import random
import socket
import struct
import threading
import time

from dds_common import qos, report
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.topic import Topic
import ros_types as ros

# Participants of one computer that are addressed.
PARTICIPANTS = 12
# What a fragment promises, and what a heartbeat or gap claims.
PROMISE_BYTES = 64 << 20
RANGE = 1 << 27


def packet(guid, *submessages):
    head = b"RTPS\x02\x04\x01\x10" + guid[:12]
    return head + b"".join(struct.pack("<BBH", kind, 1, len(body)) + body for kind, body in submessages)


def sequence(number):
    return struct.pack("<iI", number >> 32, number & 0xFFFFFFFF)


def data_frag(guid, number):
    body = struct.pack("<HH", 0, 28) + bytes(4) + guid[12:] + sequence(number)
    body += struct.pack("<IHHI", 1, 1, 60_000, PROMISE_BYTES) + b"\0\1\0\0" + b"x" * 996
    return packet(guid, (0x16, body))


def heartbeat(guid, count):
    return packet(guid, (0x07, bytes(4) + guid[12:] + sequence(1) + sequence(RANGE) + struct.pack("<i", count)))


def gap(guid):
    body = bytes(4) + guid[12:] + sequence(1) + sequence(RANGE) + struct.pack("<I", 0)
    return packet(guid, (0x08, body))


def data(guid, number):
    body = struct.pack("<HH", 0, 16) + bytes(4) + guid[12:] + sequence(number) + b"\0\1\0\0" + b"y" * 40
    return packet(guid, (0x15, body))


def damaged(rnd, guid):
    number = rnd.randrange(1, 1 << 20)
    seed = rnd.choice((data, data_frag, lambda guid, _: gap(guid), heartbeat))(guid, number)
    bad = bytearray(seed)
    for _ in range(rnd.randrange(1, 6)):
        at = rnd.randrange(8, len(bad))
        how = rnd.randrange(4)
        if how == 0:
            bad[at] = rnd.choice((0, 1, 0x7F, 0x80, 0xFF, rnd.randrange(256)))
        elif how == 1:
            bad[at:at + 4] = rnd.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x80"))
        elif how == 2:
            del bad[at:at + rnd.randrange(1, 9)]
        else:
            bad[at:at] = rnd.randbytes(rnd.randrange(1, 9))
        if len(bad) < 24:
            break
    return bytes(bad)


def attacks(kind, guid, rnd):
    """The packets, each with the pause after it in seconds."""
    if kind == "damaged":
        return ((damaged(rnd, guid), 0.001) for _ in range(10_000))
    if kind == "promises":
        return ((data_frag(guid, 100_000 + n), 0.1) for n in range(8))
    return ((make, 2.0) for make in (heartbeat(guid, 1 << 28), gap(guid)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--kind", choices=("damaged", "promises", "ranges"), required=True)
    parser.add_argument("--seconds", type=float, default=10, help="the longest that the attack takes")
    parser.add_argument("--after", type=float, default=15, help="how long the node goes on")
    args = parser.parse_args()
    participant = DomainParticipant(args.domain)
    writer = DataWriter(participant, Topic(participant, "rt/imu/data", ros.Imu), qos=qos(depth=5))
    ended = threading.Event()

    def publish():
        count = 0
        while not ended.wait(0.02):
            now = time.time_ns()
            writer.write(ros.Imu(ros.Header(ros.Time(now // 10**9, now % 10**9), str(count))))
            count += 1

    threading.Thread(target=publish, daemon=True).start()
    report(publishes=True)
    # The endpoints discover the node, and then hear it for a while: only a writer that came steadily is missed.
    time.sleep(12)
    guid = bytes(writer.get_guid().bytes)
    first = 7400 + 250 * args.domain
    ports = [first + 10 + n for n in range(2 * PARTICIPANTS)]
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rnd, sent, end = random.Random(11), 0, time.monotonic() + args.seconds
    # CycloneDDS has a word about every damaged packet that reaches this node.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    report(attacks=args.kind)
    for bad, pause in attacks(args.kind, guid, rnd):
        if time.monotonic() > end:
            break
        for port in ports:
            try:
                out.sendto(bad, ("127.0.0.1", port))
                sent += 1
            except OSError:
                # Nobody has this port.
                pass
        time.sleep(pause)
    report(sent=sent)
    time.sleep(args.after)
    ended.set()
    report(ended=True)


main()
