"""A rover of rclpy: topics, a service, an action and parameters, as nodes of a team have them.

Runs until it gets SIGINT. Nodes: /robot, /tf_one, /tf_two, /tf_three.
"""

import time

import rclpy
from example_interfaces.action import Fibonacci
from example_interfaces.srv import AddTwoInts
from geometry_msgs.msg import TransformStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, DurabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Imu
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Robot(Node):
    def __init__(self):
        super().__init__("robot")
        group = ReentrantCallbackGroup()
        self.declare_parameter("speed", 1.5)
        self.declare_parameter("name", "rover")
        self.imu = self.create_publisher(Imu, "/imu/data", qos_profile_sensor_data)
        self.text = self.create_publisher(String, "/trial/text", 10)
        self.latched = self.create_publisher(String, "/trial/latched", LATCHED)
        self.latched.publish(String(data="kept"))
        self.create_service(AddTwoInts, "/add", self.add, callback_group=group)
        self.server = ActionServer(
            self, Fibonacci, "/fibonacci", self.execute, callback_group=group,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self.create_subscription(String, "/trial/heard_by_robot", lambda _: None, 10)
        self.count = 0
        self.create_timer(0.02, self.tick, callback_group=group)

    def tick(self):
        imu = Imu()
        imu.header.stamp = self.get_clock().now().to_msg()
        self.imu.publish(imu)
        self.count += 1
        self.text.publish(String(data=str(self.count)))

    def add(self, request, response):
        response.sum = request.a + request.b
        return response

    def execute(self, goal):
        feedback = Fibonacci.Feedback(sequence=[0, 1])
        for _ in range(1, goal.request.order):
            if goal.is_cancel_requested:
                goal.canceled()
                return Fibonacci.Result(sequence=feedback.sequence)
            feedback.sequence = [*feedback.sequence, feedback.sequence[-1] + feedback.sequence[-2]]
            goal.publish_feedback(feedback)
            time.sleep(0.1)
        goal.succeed()
        return Fibonacci.Result(sequence=feedback.sequence)


def transform(name):
    """A node that says once where a frame is."""
    node = Node(name)
    publisher = node.create_publisher(TFMessage, "/tf_static", LATCHED)
    stamped = TransformStamped(child_frame_id=name)
    stamped.header.frame_id = "base_link"
    publisher.publish(TFMessage(transforms=[stamped]))
    return node


def main():
    rclpy.init()
    executor = MultiThreadedExecutor(4)
    nodes = [Robot(), *(transform(name) for name in ("tf_one", "tf_two", "tf_three"))]
    for node in nodes:
        executor.add_node(node)
    print("ready", flush=True)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


main()
