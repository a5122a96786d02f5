"""The trial's own node: publishers, subscribers and clients that are spun on a thread."""

import threading

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node


class Peer:
    def __init__(self, name="trial"):
        rclpy.init()
        self.node = Node(name)
        self.executor = MultiThreadedExecutor(3)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def _spin(self):
        try:
            self.executor.spin()
        except ExternalShutdownException:
            pass

    def heard(self, kind, topic, qos=10):
        """A list that grows with what is heard."""
        messages = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def call(self, kind, name, request, seconds=5):
        """The response of a service; raises if it is not ready or does not answer."""
        client = self.node.create_client(kind, name)
        try:
            if not client.wait_for_service(seconds):
                raise TimeoutError(f"{name} is not ready")
            return self.wait(client.call_async(request), seconds)
        finally:
            self.node.destroy_client(client)

    @staticmethod
    def wait(future, seconds=5):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(seconds):
            raise TimeoutError(f"no answer within {seconds} s")
        return future.result()

    def close(self):
        self.executor.shutdown(1)
        rclpy.try_shutdown()
