import json
import sys
import time
from urllib.parse import urlparse

import roslibpy

url = urlparse(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8080")
ros = roslibpy.Ros(host=url.hostname, port=url.port)
ros.run()

imu = roslibpy.Topic(ros, "/imu/data", "sensor_msgs/Imu", throttle_rate=200)
imu.subscribe(lambda message: print(json.dumps({"acceleration": message["linear_acceleration"]}), flush=True))

drive = roslibpy.Topic(ros, "/cmd_vel", "geometry_msgs/Twist")
drive.publish(roslibpy.Message({"linear": {"x": 0.2}}))

time.sleep(1)
print(json.dumps({"topics": len(ros.get_topics())}), flush=True)
ros.terminate()
