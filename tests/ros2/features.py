#!/usr/bin/env python3
"""Features of the gateway beside real ROS 2 nodes: topics, latched values, first messages, services, actions, parameters,
sizes, rates, kills.

    scripts/ros2-trials features [--engine cyclone|diverse|rustdds] [--source dds|r2r] [--long] [--only TEXT]
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time

from example_interfaces.action import Fibonacci
from example_interfaces.srv import AddTwoInts
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from std_msgs.msg import String, UInt8MultiArray
from std_srvs.srv import SetBool, Trigger

from peer import Peer
from rig import BASE_PORT, HERE, TIERS, Foxglove, Gateway, Process, Rosbridge, Table, check, environment, get, program, until

# The trials' topics are in a scope of each endpoint.
CONFIG = '[[route]]\ntopic = "/trial/**"\nscopes = ["state", "safety", "emergency"]\ndelivery = "every"\n'
# Every remainder by four, around the sizes at which DDS cuts messages into fragments.
SIZES = [*range(0, 17), *range(1_410, 1_442), 60_001, 65_534, 65_537, 100_002, 150_003, 200_000]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=["cyclone", "diverse", "rustdds"], help="default: the gateway's")
    parser.add_argument("--source", choices=["dds", "r2r"], default="dds")
    parser.add_argument("--long", action="store_true", help="60 s at 1 kHz instead of 5 s, and ten idle minutes")
    parser.add_argument("--only", help="rows whose name contains this")
    return parser.parse_args()


class Trials:
    def __init__(self, options, peer, gateway, table):
        self.options, self.peer, self.gateway, self.table = options, peer, gateway, table

    def row(self, name, trial, *args):
        if not self.options.only or self.options.only in name:
            self.table.row(name, lambda: trial(*args))

    # The graph

    def nodes(self, port):
        wanted = {"/robot", "/tf_one", "/tf_two", "/tf_three", "/trial"}
        seen = lambda: set(get(port, "/status")["nodes"])  # noqa: E731
        until(f"{wanted} are listed", 15, lambda: wanted <= seen())
        return f"{len(wanted)} nodes"

    def topics(self):
        wanted = {"/imu/data": "sensor_msgs/msg/Imu", "/trial/text": "std_msgs/msg/String",
                  "/tf_static": "tf2_msgs/msg/TFMessage", "/trial/heard_by_robot": "std_msgs/msg/String"}

        client = Rosbridge(BASE_PORT)

        def complete():
            client.received.clear()
            client.send("call_service", id="t", service="/rosapi/topics", args={})
            listed = client.wait(lambda m: m.get("id") == "t")["values"]
            found = dict(zip(listed["topics"], (kind.replace("/msg/", "/") for kind in listed["types"])))
            return all(found.get(name) == kind.replace("/msg/", "/") for name, kind in wanted.items())

        until("topics with their types", 15, complete)
        client.close()
        return f"{len(wanted)} topics"

    # First messages, each to a subscriber that was there before

    def first_rosbridge(self, delay):
        topic = f"/first/rosbridge_{str(delay).replace('.', '_')}"
        heard = self.peer.heard(String, topic)
        time.sleep(1)
        client = Rosbridge(BASE_PORT)
        if delay is not None:
            client.send("advertise", topic=topic, type="std_msgs/msg/String")
            time.sleep(delay)
        fields = {} if delay is not None else {"type": "std_msgs/msg/String"}
        client.send("publish", topic=topic, msg={"data": "first"}, **fields)
        until("the first message", 8, lambda: heard)
        client.close()
        check(len(heard) == 1 and heard[0].data == "first", heard)

    def first_foxglove(self, delay):
        topic = f"/first/foxglove_{str(delay).replace('.', '_')}"
        heard = self.peer.heard(String, topic)
        time.sleep(1)
        client = Foxglove(BASE_PORT)
        client.advertise(7, topic, "std_msgs/msg/String")
        time.sleep(delay)
        client.publish(7, serialize_message(String(data="first")))
        until("the first message", 8, lambda: heard)
        client.close()
        check(len(heard) == 1 and heard[0].data == "first", heard)

    def first_command(self):
        heard = self.peer.heard(String, "/first/command")
        time.sleep(1)
        command = [program("roverline"), "publish", "--url", self.gateway.urls()[0], "/first/command"]
        command += ["--type", "std_msgs/msg/String", '{"data": "first"}']
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        check(done.returncode == 0, done.stderr)
        until("the message", 8, lambda: heard)
        check(len(heard) == 1, heard)

    # Latched topics

    def latched(self, port):
        client = Rosbridge(port)
        client.send("subscribe", topic="/trial/latched", type="std_msgs/msg/String")
        message = client.wait(lambda m: m.get("op") == "publish", 8)
        client.close()
        check(message and message["msg"]["data"] == "kept", message)

    def tf_static(self):
        client, frames = Rosbridge(BASE_PORT), set()
        client.send("subscribe", topic="/tf_static", type="tf2_msgs/msg/TFMessage")

        def all_three():
            for message in client.received:
                if message.get("op") == "publish":
                    frames.update(t["child_frame_id"] for t in message["msg"]["transforms"])
            return len(frames) == 3

        until("the last message of each of three nodes", 8, all_three)
        client.close()
        return f"{sorted(frames)}"

    def latched_to_node(self):
        client = Rosbridge(BASE_PORT)
        client.send("advertise", topic="/trial/kept_for_nodes", type="std_msgs/msg/String", latch=True)
        client.send("publish", topic="/trial/kept_for_nodes", msg={"data": "kept"})
        time.sleep(1)
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        heard = self.peer.heard(String, "/trial/kept_for_nodes", qos)
        until("the latched message", 8, lambda: heard)
        client.close()

    # Services, actions, parameters

    def parallel_calls(self):
        client = Rosbridge(BASE_PORT)
        for n in range(30):
            client.send("call_service", id=f"c{n}", service="/add", type="example_interfaces/srv/AddTwoInts",
                        args={"a": n, "b": 1000})
        answered = lambda: client.count(lambda m: m.get("op") == "service_response" and m["result"])  # noqa: E731
        until("30 answers", 20, lambda: answered() == 30)
        sums = {m["id"]: m["values"]["sum"] for m in client.received if m.get("op") == "service_response"}
        check(sums == {f"c{n}": 1000 + n for n in range(30)}, sums)
        client.close()
        return "30 of 30"

    def goal(self, is_cancelled):
        client = Rosbridge(BASE_PORT)
        client.send("send_action_goal", id="g", action="/fibonacci", action_type="example_interfaces/action/Fibonacci",
                    args={"order": 40 if is_cancelled else 8}, feedback=True)
        check(client.wait(lambda m: m.get("op") == "action_feedback", 8), "no feedback")
        if is_cancelled:
            client.send("cancel_action_goal", id="g", action="/fibonacci")
        result = client.wait(lambda m: m.get("op") == "action_result", 10)
        client.close()
        check(result, "no result")
        if is_cancelled:
            check(result["status"] == 5, result)
        else:
            check(result["result"] and result["values"]["sequence"] == [0, 1, 1, 2, 3, 5, 8, 13, 21], result)
        return f"status {result.get('status')}"

    def parameters(self):
        client = Rosbridge(BASE_PORT)

        def query(service, **args):
            client.send("call_service", id=service, service=f"/rosapi/{service}", args=args)
            return client.wait(lambda m: m.get("id") == service, 8)["values"]

        until("/robot's parameters", 8, lambda: "/robot:speed" in query("get_param_names")["names"])
        check(query("get_param", name="/robot:speed")["value"] == "1.5", "the value")
        query("set_param", name="/robot:speed", value="2.5")
        client.received.clear()
        seen = query("get_param", name="/robot:speed")["value"]
        client.close()
        check(seen == "2.5", seen)

    def status_service(self):
        answer = self.peer.call(Trigger, "/websocket_redundancy/status", Trigger.Request())
        check(answer.success, answer.message)

    def client_service(self):
        client = Rosbridge(BASE_PORT)
        client.send("advertise_service", type="std_srvs/srv/SetBool", service="/trial/light")

        def serve():
            request = client.wait(lambda m: m.get("op") == "call_service", 10)
            client.send("service_response", id=request["id"], service="/trial/light", result=True,
                        values={"success": request["args"]["data"], "message": "lit"})

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        answer = self.peer.call(SetBool, "/trial/light", SetBool.Request(data=True), 8)
        check(answer.success and answer.message == "lit", answer)
        ready = self.peer.node.create_client(SetBool, "/trial/light")
        check(ready.wait_for_service(5), "it is ready")
        client.send("unadvertise_service", service="/trial/light")
        start = time.monotonic()
        if self.options.source == "dds":
            until("it is not ready any more", 5, lambda: not ready.service_is_ready())
        client.close()
        return f"withdrawn after {time.monotonic() - start:.2f} s"

    def client_action(self):
        client = Rosbridge(BASE_PORT)
        client.send("advertise_action", type="example_interfaces/action/Fibonacci", action="/trial/count")
        caller = ActionClient(self.peer.node, Fibonacci, "/trial/count")
        check(caller.wait_for_server(8), "the action server is ready")
        sent = caller.send_goal_async(Fibonacci.Goal(order=3))
        goal = client.wait(lambda m: m.get("op") == "send_action_goal", 8)
        check(goal, "the goal")
        handle = self.peer.wait(sent)
        check(handle.accepted, "accepted")
        client.send("action_result", id=goal["id"], action="/trial/count", status=4, result=True,
                    values={"sequence": [0, 1, 1]})
        result = self.peer.wait(handle.get_result_async(), 8)
        client.close()
        check(list(result.result.sequence) == [0, 1, 1] and result.status == 4, result)

    # Sizes, rates, kills

    def sizes_from_nodes(self, port):
        topic = f"/trial/sizes_{port}"
        publisher = self.peer.node.create_publisher(UInt8MultiArray, topic, 10)
        client = Rosbridge(port)
        client.send("subscribe", topic=topic, type="std_msgs/msg/UInt8MultiArray")
        until("the endpoint subscribes", 10, lambda: publisher.get_subscription_count() >= 1)
        time.sleep(1)
        for size in SIZES:
            publisher.publish(UInt8MultiArray(data=bytes(n % 251 for n in range(size))))
            time.sleep(0.05)
        received = lambda: [m for m in list(client.received) if m.get("op") == "publish"]  # noqa: E731
        until(f"{len(SIZES)} messages", 20, lambda: len(received()) >= len(SIZES))
        bodies = [base64.b64decode(m["msg"]["data"]) for m in received()]
        client.close()
        self.peer.node.destroy_publisher(publisher)
        check(bodies == [bytes(n % 251 for n in range(size)) for size in SIZES], [len(body) for body in bodies])
        return f"{len(bodies)} of {len(SIZES)}"

    def sizes_to_nodes(self):
        heard = self.peer.heard(UInt8MultiArray, "/trial/sizes_in", 100)
        client = Foxglove(BASE_PORT)
        client.advertise(9, "/trial/sizes_in", "std_msgs/msg/UInt8MultiArray")
        time.sleep(1)
        for size in SIZES:
            client.publish(9, serialize_message(UInt8MultiArray(data=bytes(n % 251 for n in range(size)))))
            time.sleep(0.05)
        until(f"{len(SIZES)} messages", 20, lambda: len(heard) >= len(SIZES))
        client.close()
        check([bytes(m.data) for m in heard] == [bytes(n % 251 for n in range(size)) for size in SIZES], len(heard))
        return f"{len(heard)} of {len(SIZES)}"

    def rate(self, hz, seconds):
        with Process([sys.executable, str(HERE / "counter.py"), "/trial/rate", str(hz), str(seconds)]) as counter:
            client, numbers = Foxglove(BASE_PORT), []
            client.on_payload = lambda _, payload: numbers.append(int(payload[8:].rstrip(b"\0")))
            client.subscribe("/trial/rate", 20)
            until("it counts", 20, lambda: numbers)
            first = numbers[0]
            until("the last message", seconds + 30, lambda: numbers[-1] >= hz * seconds - 1, 0.2)
            client.close()
            expected = hz * seconds - first
            check(len(numbers) == len(set(numbers)), f"doubled: {len(numbers) - len(set(numbers))}")
            check(len(numbers) == expected, f"{len(numbers)} of {expected}\n{counter.output()}")
            return f"{len(numbers)} of {expected}, once each"

    def kills(self):
        """Two kills of the primary under 100 Hz, seen by the product's own client."""
        with Process([sys.executable, str(HERE / "counter.py"), "/trial/kills", "100", "26"]):
            topics = lambda: [t["name"] for t in get(BASE_PORT, "/api/v2/topics")["topics"]]  # noqa: E731
            until("the topic is listed", 20, lambda: "/trial/kills" in topics())
            echo = Process([program("roverline"), "echo", "/trial/kills", "--json", *self.gateway.urls()], stdout=open(f"{self.gateway.state}/echo", "w"))
            time.sleep(6)
            for _ in range(2):
                os.kill(self.gateway.pid(BASE_PORT), signal.SIGKILL)
                time.sleep(7)
            time.sleep(7)
            echo.stop()
        lines = open(f"{self.gateway.state}/echo").read().splitlines()
        numbers = [number(line) for line in lines]
        lost = numbers[-1] - numbers[0] + 1 - len(set(numbers))
        doubled = len(numbers) - len(set(numbers))
        check(lost == 0 and doubled == 0 and len(numbers) > 1_500, f"lost {lost}, doubled {doubled} of {len(numbers)}")
        return f"lost 0, doubled 0 of {len(numbers)}"

    def idle(self):
        time.sleep(600)
        self.first_rosbridge(1.0625)


def number(line):
    """The number in a line that `roverline echo --json` has printed of a String."""
    return int(json.loads(line)["data"]["data"])


def main():
    options = parse()
    table = Table(f"features: {environment()}, source {options.source}, engine {options.engine or 'default'}")
    with Process([sys.executable, str(HERE / "rover.py")]) as rover:
        until("the rover is ready", 20, lambda: "ready" in rover.output())
        with Gateway(options.source, options.engine, CONFIG) as gateway:
            peer = Peer()
            trials = Trials(options, peer, gateway, table)
            for port, tier in zip(gateway.ports, TIERS):
                trials.row(f"nodes, {tier}", trials.nodes, port)
            trials.row("topics with types, also those only subscribed to", trials.topics)
            for delay, when in ((1, "1 s after advertise"), (0, "at once"), (None, "without advertise")):
                trials.row(f"first message over rosbridge, {when}", trials.first_rosbridge, delay)
            for delay, when in ((1, "1 s after advertise"), (0, "at once")):
                trials.row(f"first message over Foxglove, {when}", trials.first_foxglove, delay)
            trials.row("a message of `roverline publish`", trials.first_command)
            trials.row("latched topic, late client", trials.latched, BASE_PORT)
            trials.row("/tf_static of three nodes, late client", trials.tf_static)
            trials.row("latched topic of a client, late node", trials.latched_to_node)
            trials.row("30 parallel calls of a service", trials.parallel_calls)
            trials.row("goal with feedback and result", trials.goal, False)
            trials.row("goal cancelled", trials.goal, True)
            trials.row("parameters: list, get, set", trials.parameters)
            trials.row("status service from rclpy", trials.status_service)
            trials.row("service of a client from rclpy, and withdrawn", trials.client_service)
            if options.source == "dds":
                trials.row("action of a client from rclpy", trials.client_action)
            for port, tier in zip(gateway.ports, TIERS):
                trials.row(f"{len(SIZES)} sizes from a node, {tier}", trials.sizes_from_nodes, port)
            trials.row(f"{len(SIZES)} sizes to a node", trials.sizes_to_nodes)
            trials.row("1 kHz, each once", trials.rate, 1_000, 60 if options.long else 5)
            trials.row("kill -9 of the primary, twice, at 100 Hz", trials.kills)
            if options.long:
                trials.row("first message after ten idle minutes", trials.idle)
            peer.close()
    sys.exit(table.end())


main()
