"""A large graph: crowd.py NODES TOPICS, each node a participant of its own. Ends with SIGINT."""

import sys
import time

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import String

nodes, topics = int(sys.argv[1]), int(sys.argv[2])
kept = []
for n in range(nodes):
    context = Context()
    rclpy.init(context=context)
    node = Node(f"crowd_{n}", context=context)
    kept.append((context, node, [node.create_publisher(String, f"/crowd/topic_{t}", 1) for t in range(n, topics, nodes)]))
print("ready", flush=True)
try:
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    pass
