"""Publishes bytes with a time and a number in front: stamped.py TOPIC HZ SECONDS BYTES."""

import array
import struct
import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import UInt8MultiArray

topic, hz, seconds, size = sys.argv[1], *(int(arg) for arg in sys.argv[2:5])
rclpy.init()
node = Node("stamped")
publisher = node.create_publisher(UInt8MultiArray, topic, QoSProfile(depth=100))
body = array.array("B", bytes(size))
message = UInt8MultiArray(data=body)
time.sleep(3)  # Readers are found first.
start = time.monotonic()
for n in range(hz * seconds):
    struct.pack_into("<qq", message.data, 0, time.monotonic_ns(), n)
    publisher.publish(message)
    wait = start + (n + 1) / hz - time.monotonic()
    if wait > 0:
        time.sleep(wait)
time.sleep(3)
