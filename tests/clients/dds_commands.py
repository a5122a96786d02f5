#!/usr/bin/env python3
"""A rover that records what it is commanded to do: it serves `/rover/do` (example_interfaces/srv/AddTwoInts).

    dds_commands.py --domain 42 --seconds 60

`a` is the number of the command. Each call is answered with the number of calls so far, and printed with its time of
arrival (CLOCK_MONOTONIC, nanoseconds).
"""

import argparse
import time

from dds_common import end_with_input, qos, report
from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
import ros_services as srv
import ros_types as ros


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    request = Topic(participant, "rq/rover/doRequest", srv.AddTwoIntsRequest)
    reply = Topic(participant, "rr/rover/doReply", srv.AddTwoIntsResponse)
    reader = DataReader(participant, request, qos=qos(depth=1000))
    writer = DataWriter(participant, reply, qos=qos(depth=1000))
    waitset = WaitSet(participant)
    waitset.attach(ReadCondition(reader, SampleState.Any | ViewState.Any | InstanceState.Any))
    graph = Topic(participant, "ros_discovery_info", ros.ParticipantEntitiesInfo)
    node = ros.NodeEntitiesInfo(node_name="rover")
    info = DataWriter(participant, graph, qos=qos(latched=True, depth=1))
    info.write(ros.ParticipantEntitiesInfo(node_entities_info_seq=[node]))
    end_with_input()
    report(ready=True)
    calls, end = 0, time.monotonic() + args.seconds
    while time.monotonic() < end:
        waitset.wait(duration(milliseconds=50))
        now = time.monotonic_ns()
        for sample in reader.take(N=100):
            if sample.sample_info.valid_data:
                calls += 1
                writer.write(srv.AddTwoIntsResponse(client=sample.client, number=sample.number, sum=calls))
                report(n=sample.a, at=now)


if __name__ == "__main__":
    main()
