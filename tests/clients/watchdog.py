#!/usr/bin/env python3
"""A watchdog for motors in rclpy: passes /cmd_vel on to /motors/cmd_vel, and stops them if it falls silent."""

import rclpy
from geometry_msgs.msg import Twist
from rclpy.node import Node


class Watchdog(Node):
    def __init__(self):
        super().__init__("watchdog")
        self.motors = self.create_publisher(Twist, "/motors/cmd_vel", 1)
        self.create_subscription(Twist, "/cmd_vel", self.command, 1)
        self.timer = self.create_timer(0.5, lambda: self.motors.publish(Twist()))

    def command(self, twist):
        self.timer.reset()
        self.motors.publish(twist)


rclpy.init()
rclpy.spin(Watchdog())
