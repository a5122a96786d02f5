#!/usr/bin/env python3
"""A small robot on CycloneDDS: publishes for a while, prints what it published, and exits.

Every message carries a counter, so that a receiver can detect losses. The counter is in the header's
frame_id (as text), or it is the text itself in messages without a header.
"""

import argparse
import time

from dds_common import qos, report
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.topic import Topic
from cyclonedds.util import duration
import ros_types as ros


class Stream:
    """One topic at a fixed rate; a rate of 0 publishes once."""

    def __init__(self, participant, name, type_, make, rate, limit=0, policies=None, **offer):
        self.name, self.make, self.rate, self.limit, self.count = name, make, rate, limit, 0
        self.writer = DataWriter(participant, Topic(participant, "rt" + name, type_), qos=policies or qos(**offer))
        self.next = 0.0

    def due(self, now):
        ended = self.limit and self.count >= self.limit
        return now >= self.next and not ended and not (self.rate == 0 and self.count)

    def publish(self):
        self.writer.write(self.make(self.count))
        self.count += 1
        self.next = self.next + 1 / self.rate if self.rate else float("inf")


def header(count):
    now = time.time_ns()
    return ros.Header(ros.Time(now // 10**9, now % 10**9), str(count))


def transforms(_):
    return ros.TFMessage([ros.TransformStamped(header(0), "imu_link")])


def build(participant, args):
    pixels = bytes(args.image_bytes)
    text = "x" * args.text_bytes
    streams = [
        Stream(participant, "/imu/data", ros.Imu, lambda n: ros.Imu(header(n)), args.imu_rate, args.count),
        Stream(participant, "/tf_static", ros.TFMessage, transforms, 0, latched=True, depth=1),
    ]
    if args.image_rate:
        streams.append(Stream(
            participant, "/camera/image", ros.Image,
            lambda n: ros.Image(header(n), 1, len(pixels), "mono8", 0, len(pixels), pixels),
            args.image_rate, reliable=args.image_reliable, depth=5))
    if args.slow_rate:
        streams.append(Stream(
            participant, "/gps/fix", ros.NavSatFix,
            lambda n: ros.NavSatFix(header(n), latitude=52.0, longitude=4.0), args.slow_rate))
        streams.append(Stream(
            participant, "/battery_state", ros.BatteryState,
            lambda n: ros.BatteryState(header(n), voltage=24.0, percentage=0.5), args.slow_rate, reliable=False))
    if args.text_rate:
        streams.append(Stream(
            participant, "/text", ros.String, lambda n: ros.String(f"{n} {text}"), args.text_rate, args.count))
    if args.description:
        # CycloneDDS does not announce a policy that has its default value.
        default = Qos(Policy.Reliability.Reliable(duration(milliseconds=100)), Policy.Durability.TransientLocal)
        streams.append(Stream(
            participant, "/robot_description", ros.String, lambda _: ros.String(args.description), 0, policies=default))
    if args.stop is not None:
        engaged = args.stop == "true"
        streams.append(Stream(
            participant, "/emergency_stop", ros.Bool, lambda _: ros.Bool(engaged), 5, latched=True, depth=1))
    return streams


def announce(participant, name):
    """Our node, announced like an RMW of Iron or later does."""
    gid = ros.Gid16(list(participant.guid.bytes))
    info = ros.ParticipantEntitiesInfo(gid, [ros.NodeEntitiesInfo("/", name)])
    topic = Topic(participant, "ros_discovery_info", ros.ParticipantEntitiesInfo)
    writer = DataWriter(participant, topic, qos=qos(latched=True, depth=1))
    writer.write(info)
    return writer


def wait_for_readers(streams, readers, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if all(len(stream.writer.get_matched_subscriptions()) >= readers for stream in streams):
            return
        time.sleep(0.005)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--imu-rate", type=float, default=200.0)
    parser.add_argument("--slow-rate", type=float, default=5.0)
    parser.add_argument("--image-rate", type=float, default=10.0)
    parser.add_argument("--image-bytes", type=int, default=100_000)
    parser.add_argument("--image-reliable", action="store_true")
    parser.add_argument("--text-rate", type=float, default=0.0)
    parser.add_argument("--text-bytes", type=int, default=1000)
    parser.add_argument("--description", help="publish this once, with the default reliability")
    parser.add_argument("--stop", choices=["true", "false"], help="publish this on /emergency_stop as well")
    parser.add_argument("--count", type=int, default=0, help="stop the IMU and the text after so many")
    parser.add_argument("--wait", type=float, default=0.0, help="wait so long for subscribers of everything")
    parser.add_argument("--readers", type=int, default=1, help="how many of them to wait for")
    parser.add_argument("--node", default="cyclone_robot")
    parser.add_argument("--linger", type=float, default=0.3, help="stay so long after the last message")
    args = parser.parse_args()

    participant = DomainParticipant(args.domain)
    node = announce(participant, args.node)
    streams = build(participant, args)
    wait_for_readers(streams, args.readers, args.wait)
    start = time.monotonic()
    for stream in streams:
        stream.next = start
    late = 0.0
    while (now := time.monotonic()) - start < args.seconds:
        for stream in streams:
            if stream.due(now):
                late = max(late, now - stream.next if stream.rate else 0.0)
                stream.publish()
        pause = min(stream.next for stream in streams) - time.monotonic()
        time.sleep(max(0.0, min(pause, 0.01)))
    time.sleep(args.linger)
    report(published={stream.name: stream.count for stream in streams}, latest_by_ms=round(late * 1000, 2))
    del node


if __name__ == "__main__":
    main()
