#!/usr/bin/env python3
"""Calls a std_srvs/srv/Trigger service like rmw_cyclonedds_cpp does, several times concurrently.

    dds_caller.py --domain 42 --calls 5 /gateway/photo

Prints the responses by sequence number.
"""

import argparse
import time

from dds_common import qos, report
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
import ros_types as ros

CLIENT = 0x1020304050607080


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("service")
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    reply = Topic(participant, f"rr{args.service}Reply", ros.TriggerResponse)
    reader = DataReader(participant, reply, qos=qos(depth=50))
    request = Topic(participant, f"rq{args.service}Request", ros.TriggerRequest)
    writer = DataWriter(participant, request, qos=qos(depth=50))
    end, asked, answers = time.monotonic() + args.seconds, False, {}
    while time.monotonic() < end and len(answers) < args.calls:
        if not asked and writer.get_matched_subscriptions() and reader.get_matched_publications():
            asked = True
            for number in range(1, args.calls + 1):
                writer.write(ros.TriggerRequest(CLIENT, number))
        for sample in reader.take(N=50):
            if sample.sample_info.valid_data and sample.client == CLIENT:
                answers[sample.number] = [sample.success, sample.message]
        time.sleep(0.005)
    report(answers=answers)


if __name__ == "__main__":
    main()
