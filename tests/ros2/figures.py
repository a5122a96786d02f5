#!/usr/bin/env python3
"""Figures of both engines of DDS in one run: latency, loss, processor time and memory of the primary for three loads, and the
cost of being idle.

    scripts/ros2-trials figures [--seconds 20] [--engines cyclone,rustdds]

Latency is from the publisher's `publish` to the WebSocket client's callback, on one computer's monotonic clock.
"""

import argparse
import os
import struct
import sys
import time

from rig import BASE_PORT, HERE, Foxglove, Gateway, Process, check, environment, until

LOADS = [("1 kHz x 1 KiB", 1_000, 1_024), ("30 Hz x 100 kB", 30, 100_000), ("9 Hz x 900 kB", 9, 900_000)]
# Where the data of a UInt8MultiArray begin: encapsulation, an empty layout, the length.
DATA = 16
CONFIG = '[[route]]\ntopic = "/trial/**"\nscopes = ["state"]\ndelivery = "every"\n'


def processor_time(pid):
    """Seconds of a process so far."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    line = next(line for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def load(engine, name, hz, size, seconds):
    with Gateway(engine=engine, config=CONFIG) as gateway:
        pid = gateway.pid(BASE_PORT)
        with Process([sys.executable, str(HERE / "stamped.py"), "/trial/load", str(hz), str(seconds), str(size)]):
            client, seen = Foxglove(BASE_PORT), []

            def take(_, payload):
                sent, n = struct.unpack_from("<qq", payload, DATA)
                seen.append((n, (time.monotonic_ns() - sent) / 1e6))

            client.on_payload = take
            client.subscribe("/trial/load", 20)
            until("the load begins", 20, lambda: seen)
            before = processor_time(pid)
            until("the load ends", seconds + 20, lambda: seen[-1][0] >= hz * seconds - 1, 0.2)
            spent = processor_time(pid) - before
            client.close()
        numbers = {n for n, _ in seen}
        lost = hz * seconds - min(numbers) - len(numbers)
        times = sorted(ms for _, ms in seen)
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"{engine:<8} {name:<16} p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  lost {lost:>4} of {hz * seconds}"
              f"  {spent:5.2f} s  {resident_mib(pid):5.0f} MiB", flush=True)
        check(lost >= 0, "doubled")


def idle(engine, seconds):
    with Gateway(engine=engine) as gateway:
        time.sleep(5)
        pid = gateway.pid(BASE_PORT)
        before = processor_time(pid)
        time.sleep(seconds)
        print(f"{engine:<8} {'idle':<16} {processor_time(pid) - before:.2f} s in {seconds} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--engines", default="cyclone,rustdds")
    options = parser.parse_args()
    print(f"figures: {environment()}", flush=True)
    engines = options.engines.split(",")
    for name, hz, size in LOADS:
        for engine in engines:
            load(engine, name, hz, size, options.seconds)
    for engine in engines:
        idle(engine, options.seconds)


main()
