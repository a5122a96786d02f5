#!/usr/bin/env python3
"""Checks with roslibpy: roslibpy_checks.py URL. Prints its observations.

With `--serve NAME` it serves a std_srvs/srv/Trigger until it has been called three times.
"""

import argparse
import json
import threading
from urllib.parse import urlparse

import roslibpy


def first(ros, name, type_name, count=1, **options):
    """The first messages of a topic."""
    messages, enough = [], threading.Event()

    def take(message):
        messages.append(message)
        if len(messages) >= count:
            enough.set()

    topic = roslibpy.Topic(ros, name, type_name, **options)
    topic.subscribe(take)
    assert enough.wait(20), f"{name}: {len(messages)} messages in 20 s"
    topic.unsubscribe()
    return messages


def serve(ros, name):
    asked, enough = [], threading.Event()

    def answer(request, response):
        asked.append(dict(request))
        response["success"], response["message"] = True, "roslibpy answers"
        if len(asked) >= 3:
            enough.set()
        return True

    service = roslibpy.Service(ros, name, "std_srvs/Trigger")
    service.advertise(answer)
    print(json.dumps({"ready": True}), flush=True)
    assert enough.wait(60), f"{name}: asked {len(asked)} times in 60 s"
    return {"asked": len(asked)}


def stop(ros):
    """Stops the rover; whether it stands still."""
    command = roslibpy.Topic(ros, "/emergency_stop", "std_msgs/Bool")
    stands, odom = threading.Event(), roslibpy.Topic(ros, "/odom", "nav_msgs/Odometry")
    odom.subscribe(lambda message: abs(message["twist"]["twist"]["linear"]["x"]) < 0.01 and stands.set())
    command.publish(roslibpy.Message({"data": True}))
    stood = stands.wait(20)
    odom.unsubscribe()
    return stood


def look(ros):
    seen = {
        "frame": first(ros, "/odom", "nav_msgs/Odometry")[0]["header"]["frame_id"],
        "throttled": len(first(ros, "/imu/data", "sensor_msgs/Imu", count=3, throttle_rate=100, queue_length=1)),
        "latched": len(first(ros, "/tf_static", "tf2_msgs/TFMessage")[0]["transforms"]),
        "stops": stop(ros),
        "topics": ros.get_topics(),
        "type": ros.get_topic_type("/odom"),
        "nodes": ros.get_nodes(),
        "time": ros.get_time(),
        "details": ros.get_message_details("geometry_msgs/Twist"),
        "of_type": ros.get_topics_for_type("sensor_msgs/msg/Imu"),
        "services": ros.get_services(),
    }
    try:
        roslibpy.Service(ros, "/nobody", "std_srvs/Trigger").call(roslibpy.ServiceRequest(), timeout=20)
    except Exception as error:
        seen["failed"] = str(error)
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve")
    parser.add_argument("url")
    args = parser.parse_args()
    url = urlparse(args.url)
    ros = roslibpy.Ros(host=url.hostname, port=url.port)
    ros.run(20)
    seen = serve(ros, args.serve) if args.serve else look(ros)
    print(json.dumps(seen, default=dict), flush=True)
    ros.terminate()


if __name__ == "__main__":
    main()
