#!/usr/bin/env python3
"""Subscribes to a geometry_msgs/msg/Twist with CycloneDDS, as a motor driver does, and prints every message.

    dds_velocity.py --domain 42 --seconds 60 /cmd_vel
    dds_velocity.py --domain 42 --seconds 60 --bool /emergency_stop

Each line has the time of arrival (CLOCK_MONOTONIC, nanoseconds) and the linear velocity, or 1 and 0 of a std_msgs/msg/Bool.
"""

import argparse
import time

from dds_common import end_with_input, qos, report
from cyclonedds.core import ReadCondition, ViewState, InstanceState, SampleState, WaitSet
from cyclonedds.domain import DomainParticipant
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
import ros_types as ros


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--bool", action="store_true")
    parser.add_argument("topic")
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    topic = Topic(participant, "rt" + args.topic, ros.Bool if args.bool else ros.Twist)
    reader = DataReader(participant, topic, qos=qos(reliable=True, depth=10))
    waitset = WaitSet(participant)
    waitset.attach(ReadCondition(reader, SampleState.Any | ViewState.Any | InstanceState.Any))
    end_with_input()
    report(ready=True)
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        waitset.wait(duration(milliseconds=50))
        now = time.monotonic_ns()
        for sample in reader.take(N=100):
            if sample.sample_info.valid_data:
                report(at=now, x=float(sample.data) if args.bool else sample.linear.x)


if __name__ == "__main__":
    main()
