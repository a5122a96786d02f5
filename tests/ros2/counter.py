"""Publishes numbers as String: counter.py TOPIC HZ SECONDS. Says at the end how many it has published."""

import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

topic, hz, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rclpy.init()
node = Node("counter")
publisher = node.create_publisher(String, topic, QoSProfile(depth=1_000))
time.sleep(3)  # Readers are found first.
start = time.monotonic()
for n in range(hz * seconds):
    publisher.publish(String(data=str(n)))
    wait = start + (n + 1) / hz - time.monotonic()
    if wait > 0:
        time.sleep(wait)
print(f"published {hz * seconds} in {time.monotonic() - start:.1f} s", flush=True)
time.sleep(3)
