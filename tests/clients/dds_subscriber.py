#!/usr/bin/env python3
"""Subscribes with CycloneDDS for a while, prints what it received, and exits.

    dds_subscriber.py --domain 42 --seconds 5 /imu/data=sensor_msgs/msg/Imu /tf=tf2_msgs/msg/TFMessage:latched

A topic may end in `:latched` (transient local) or `:besteffort`.
"""

import argparse
import time

from dds_common import qos, report
from cyclonedds.core import ReadCondition, ViewState, InstanceState, SampleState, WaitSet
from cyclonedds.domain import DomainParticipant
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
import ros_types as ros


def open_reader(participant, spec):
    name, _, rest = spec.partition("=")
    type_name, _, kind = rest.partition(":")
    wanted = qos(reliable=kind != "besteffort", latched=kind == "latched")
    topic = name.lstrip("/") if name == "/ros_discovery_info" else "rt" + name
    return name, DataReader(participant, Topic(participant, topic, ros.TYPES[type_name]), qos=wanted)


def counter(sample):
    """The publisher's counter, if the message contains it."""
    text = sample.header.frame_id if hasattr(sample, "header") else getattr(sample, "data", "")
    first = str(text).split(" ")[0]
    return int(first) if first.isdigit() else None


def nodes(sample):
    return [node.node_name for node in getattr(sample, "node_entities_info_seq", [])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--until", type=int, default=0, help="end once every topic has so many")
    parser.add_argument("--until-number", type=int, help="end once every topic's counter has reached this")
    parser.add_argument("topics", nargs="+", metavar="TOPIC=TYPE[:latched|:besteffort]")
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    readers = [open_reader(participant, spec) for spec in args.topics]
    waitset = WaitSet(participant)
    for _, reader in readers:
        waitset.attach(ReadCondition(reader, SampleState.Any | ViewState.Any | InstanceState.Any))
    seen = {name: {"count": 0, "numbered": 0, "last": None, "gaps": 0, "nodes": []} for name, _ in readers}
    report(ready=True)
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        waitset.wait(duration(milliseconds=50))
        for name, reader in readers:
            entry = seen[name]
            for sample in reader.take(N=1000):
                if not sample.sample_info.valid_data:
                    continue
                entry["count"] += 1
                entry["nodes"] = nodes(sample) or entry["nodes"]
                number = counter(sample)
                if number is not None:
                    entry["numbered"] += 1
                    entry["gaps"] += entry["last"] is not None and number != entry["last"] + 1
                    entry["last"] = number
        if args.until and all(entry["count"] >= args.until for entry in seen.values()):
            break
        if args.until_number is not None and all(entry["last"] == args.until_number for entry in seen.values()):
            break
    report(received=seen)


if __name__ == "__main__":
    main()
