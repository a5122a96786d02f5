#!/usr/bin/env python3
"""Calls a std_srvs/srv/Trigger service like rmw_cyclonedds_cpp does, and subscribes to the diagnostics.

    dds_service.py --domain 42 /websocket_redundancy/status

Repeats the request until there are `--replies` replies; then prints them and the number of repliers.
"""

import argparse
import time

from dds_common import qos, report
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
import ros_types as ros

CLIENT = 0x1122334455667788


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--replies", type=int, default=3)
    parser.add_argument("service")
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    request = Topic(participant, f"rq{args.service}Request", ros.TriggerRequest)
    reply = Topic(participant, f"rr{args.service}Reply", ros.TriggerResponse)
    writer = DataWriter(participant, request, qos=qos(depth=10))
    reader = DataReader(participant, reply, qos=qos(depth=10))
    diagnostics = DataReader(participant, Topic(participant, "rt/diagnostics", ros.DiagnosticArray), qos=qos(depth=50))
    number, answers, statuses, strangers, end = 0, {}, {}, 0, time.monotonic() + args.seconds
    while time.monotonic() < end and (len(answers) < args.replies or len(statuses) < 4):
        # Like a client that has discovered its service: both topics are matched.
        if writer.get_matched_subscriptions() and reader.get_matched_publications():
            number += 1
            writer.write(ros.TriggerRequest(CLIENT, number))
        time.sleep(0.3)
        for sample in reader.take(N=100):
            if sample.sample_info.valid_data and sample.client == CLIENT and 0 < sample.number <= number:
                answers.setdefault(sample.number, []).append((sample.success, sample.message))
            else:
                strangers += 1
        for sample in diagnostics.take(N=100):
            if sample.sample_info.valid_data:
                for status in sample.status:
                    values = {value.key: value.value for value in status.values}
                    statuses[status.name] = {"level": status.level, "message": status.message, "values": values}
    last = answers[max(answers)][-1] if answers else (False, "")
    report(asked=number, answered=len(answers), most=max(map(len, answers.values()), default=0),
           strangers=strangers, success=last[0], message=last[1], statuses=statuses)


if __name__ == "__main__":
    main()
