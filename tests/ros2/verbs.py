#!/usr/bin/env python3
"""The verbs of the `ros2` command before, during and after the gateway: it changes no answer but by its own nodes, topics and
services.

    scripts/ros2-trials verbs [--engine cyclone|diverse|rustdds] [--source dds|r2r]
"""

import argparse
import re
import subprocess
import sys
import time

from rig import HERE, Gateway, Process, Table, check, environment, until

# A verb, and how its answer is compared: `lines` as a set of lines, `same` as it is, `some` that there is one.
VERBS = [
    ("node list", "lines"),
    ("node info /robot", "lines"),
    ("topic list", "lines"),
    ("topic list -t", "lines"),
    ("topic list --include-hidden-topics", "lines"),
    ("topic info /imu/data", "lines"),
    ("topic info -v /trial/latched", "some"),
    ("topic type /imu/data", "same"),
    ("topic find std_msgs/msg/String", "lines"),
    ("topic echo --once /trial/text", "some"),
    ("topic echo --once --qos-durability transient_local --qos-reliability reliable /trial/latched", "same"),
    ("topic echo --once --qos-durability transient_local --qos-reliability reliable /tf_static", "some"),
    ("topic hz --window 20 /imu/data", "rate"),
    ("topic bw --window 20 /imu/data", "rate"),
    ("topic pub --once /trial/heard_by_robot std_msgs/msg/String {data: x}", "some"),
    ("service list", "lines"),
    ("service list -t", "lines"),
    ("service type /add", "same"),
    ("service find example_interfaces/srv/AddTwoInts", "lines"),
    ("service call /add example_interfaces/srv/AddTwoInts {a: 2, b: 3}", "same"),
    ("action list", "lines"),
    ("action list -t", "lines"),
    ("action info /fibonacci", "lines"),
    ("action send_goal /fibonacci example_interfaces/action/Fibonacci {order: 3}", "some"),
    ("param list /robot", "lines"),
    ("param get /robot speed", "same"),
    ("param set /robot name rover", "same"),
    ("param dump /robot", "lines"),
]
# What the gateway adds.
OWN = re.compile(r"/roverline|/websocket_redundancy|/diagnostics\b|_ros2cli|/parameter_events|/rosout")
COUNTED = re.compile(r"count: \d+|Action clients: \d+|waiting for service")


def run(verb):
    """What a verb prints; those that never end are ended after some seconds."""
    words, braces = verb.split(" {", 1) if " {" in verb else (verb, None)
    args = ["ros2", *words.split(), *([("{" + braces)] if braces else [])]
    endless = verb.split()[1] in ("hz", "bw")
    limit = ["timeout", "-s", "INT", "6"] if endless else ["timeout", "30"]
    done = subprocess.run([*limit, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    check(endless or done.returncode == 0, f"exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def normal(text, how):
    """What is compared of an answer."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not OWN.search(line)]
    if how == "lines":
        return sorted(line for line in lines if not COUNTED.search(line))
    if how == "rate":
        rates = [float(value) for value in re.findall(r"average rate: ([\d.]+)", text)]
        check(rates or "B/s" in text, f"no rate: {text[:200]}")
        check(all(40 < rate < 60 for rate in rates[-1:]), f"{rates} Hz")
        return []
    if how == "some":
        check(lines, "no answer")
        return []
    return [re.sub(r"0x[0-9a-f]+", "", line) for line in lines if not COUNTED.search(line)]


def answers(table, when, before):
    found = {}
    for verb, how in VERBS:

        def trial(verb=verb, how=how):
            found[verb] = normal(run(verb), how)
            if before is not None:
                more = [line for line in found[verb] if line not in before[verb]]
                less = [line for line in before[verb] if line not in found[verb]]
                check(not more and not less, f"more: {more}, less: {less}")

        table.row(f"{when}: ros2 {verb}"[:78], trial)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=["cyclone", "diverse", "rustdds"])
    parser.add_argument("--source", choices=["dds", "r2r"], default="dds")
    options = parser.parse_args()
    table = Table(f"verbs: {environment()}, source {options.source}, engine {options.engine or 'default'}")
    with Process([sys.executable, str(HERE / "rover.py")]) as rover:
        until("the rover is ready", 20, lambda: "ready" in rover.output())
        time.sleep(3)
        subprocess.run(["ros2", "daemon", "stop"], capture_output=True, timeout=30)
        before = answers(table, "before", None)
        with Gateway(options.source, options.engine):
            time.sleep(5)
            answers(table, "during", before)
        time.sleep(3)
        answers(table, "after", before)
        subprocess.run(["ros2", "daemon", "stop"], capture_output=True, timeout=30)
    sys.exit(table.end())


main()
