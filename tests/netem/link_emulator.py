#!/usr/bin/env python3
"""Emulates a bad radio link between two network namespaces, for kernels without netem.

Each namespace, one for the rover and one for the ground, has a TUN device. This program forwards IP packets
between them with delay, loss and a limited rate; the TCP on top is the kernel's own.

    link_emulator.py --tag 1234 --delay-ms 1 --rate-kbit 100000 --seed 7

It needs root. It prints one JSON line when both ends are up, and then reads commands from standard input:

    set up loss=0.3 delay_ms=500     up: ground to rover; down: rover to ground; both
    block down 8080                  drops the packets of one TCP port
    cut both                         drops everything
    heal                             restores the initial properties
    count                            prints bytes and packets as one JSON line

It removes its namespaces and exits when its input ends or on SIGTERM.
"""

import argparse
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
ROVER, GROUND = "10.77.0.1", "10.77.0.2"
# Larger than any response, but limited: a queue that never fills is not realistic.
QUEUE_BYTES = 64 << 10


def ip(*args):
    subprocess.run(["ip", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Direction:
    """One direction of the link: its properties and its counters."""

    def __init__(self, start, seed):
        self.start = start
        self.random = random.Random(seed)
        self.bytes = self.packets = self.dropped = 0
        self.free_at = self.last_due = 0.0
        self.heal()

    def heal(self):
        self.cut, self.blocked, self.spoil = False, set(), dict(self.start)

    def due(self, packet, now):
        """The arrival time of a packet; None if it is dropped."""
        spoil = self.spoil
        if self.cut or self.is_blocked(packet) or self.random.random() < spoil["loss"]:
            return None
        start = now
        if spoil["rate_kbit"] > 0:
            bytes_per_s = spoil["rate_kbit"] * 125
            start = max(now, self.free_at)
            if (start - now) * bytes_per_s + len(packet) > spoil["queue_bytes"]:
                return None
            start += len(packet) / bytes_per_s
            self.free_at = start
        delay = spoil["delay_ms"] + self.random.uniform(0, spoil["jitter_ms"])
        # Jitter delays but does not reorder, like on a radio.
        self.last_due = max(self.last_due, start + delay / 1e3)
        return self.last_due

    def is_blocked(self, packet):
        if not self.blocked or len(packet) < 24 or packet[0] >> 4 != 4 or packet[9] != 6:
            return False
        ports = struct.unpack_from("!HH", packet, (packet[0] & 15) * 4)
        return not self.blocked.isdisjoint(ports)


class Emulator:
    def __init__(self, args):
        self.tag = args.tag
        self.namespaces, self.tuns = [], []
        start = {key: getattr(args, key) for key in ("delay_ms", "jitter_ms", "loss", "rate_kbit", "queue_bytes")}
        self.directions = {"up": Direction(start, args.seed), "down": Direction(start, args.seed + 1)}
        self.waiting, self.number = [], 0

    def build(self):
        for side, own, other in (("rover", ROVER, GROUND), ("ground", GROUND, ROVER)):
            namespace, device = f"{side}-{self.tag}", f"rl{self.tag}{side[0]}"
            ip("netns", "add", namespace)
            self.namespaces.append(namespace)
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
            self.tuns.append(tun)
            ip("link", "set", device, "netns", namespace)
            ip("-n", namespace, "addr", "add", own, "peer", other, "dev", device)
            ip("-n", namespace, "link", "set", device, "mtu", "1500", "up")
            ip("-n", namespace, "link", "set", "lo", "up")
        return {"rover": self.namespaces[0], "ground": self.namespaces[1], "host": ROVER}

    def remove(self):
        for tun in self.tuns:
            os.close(tun)
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def obey(self, line):
        verb, *words = line.split() or [""]
        which = [d for d in ("up", "down") if words[:1] in ([], ["both"], [d])]
        targets = [self.directions[d] for d in which]
        for target in targets:
            if verb == "set":
                target.spoil.update((k, float(v)) for k, v in (w.split("=") for w in words[1:]))
            elif verb == "block":
                target.blocked.update(map(int, words[1:]))
            elif verb == "cut":
                target.cut = True
            elif verb == "heal":
                target.heal()
        if verb == "count":
            counts = {d: {k: getattr(x, k) for k in ("bytes", "packets", "dropped")} for d, x in self.directions.items()}
            print(json.dumps(counts), flush=True)

    def run(self):
        rover, ground = self.tuns
        ways = {ground: (self.directions["up"], rover), rover: (self.directions["down"], ground)}
        poll = select.poll()
        for fd in (rover, ground, 0):
            poll.register(fd, select.POLLIN)
        pending = b""
        while True:
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, _, out, packet = heapq.heappop(self.waiting)
                try:
                    os.write(out, packet)
                except OSError:
                    pass  # packets to a removed device are lost
            timeout = max(0, (self.waiting[0][0] - now) * 1e3) if self.waiting else 1_000
            for fd, _ in poll.poll(timeout):
                if fd == 0:
                    data = os.read(0, 4096)
                    if not data:
                        return
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self.obey(line.decode())
                else:
                    self.take(fd, *ways[fd])

    def take(self, fd, way, out):
        now = time.monotonic()
        for _ in range(64):
            try:
                packet = os.read(fd, 65_536)
            except OSError:
                return
            way.bytes += len(packet)
            way.packets += 1
            due = way.due(packet, now)
            if due is None:
                way.dropped += 1
            else:
                self.number += 1
                heapq.heappush(self.waiting, (due, self.number, out, packet))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", required=True, help="makes the names of namespaces and devices unique")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--delay-ms", type=float, default=1.0, help="one way")
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets, 0 to 1")
    parser.add_argument("--rate-kbit", type=float, default=0.0, help="0: unlimited")
    parser.add_argument("--queue-bytes", type=float, default=QUEUE_BYTES, help="in front of a rate; more is dropped")
    emulator = Emulator(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # ^C is handled by the parent; this process exits when its input ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            print(json.dumps(emulator.build()), flush=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = (getattr(error, "stderr", None) or str(error).encode()).decode().strip()
            print(json.dumps({"error": why}), flush=True)
            return 1
        emulator.run()
    finally:
        emulator.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
