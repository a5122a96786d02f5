import * as ROSLIB from "roslib";

const ros = new ROSLIB.Ros({ url: process.argv[2] ?? "ws://localhost:8080" });
ros.on("status", (status) => console.error(status.level, status.msg));

const imu = new ROSLIB.Topic({
  ros,
  name: "/imu/data",
  messageType: "sensor_msgs/Imu",
  throttle_rate: 200, // five times a second; the newest counts
  compression: "cbor",
});
imu.subscribe((message) => {
  console.log(JSON.stringify({ acceleration: message.linear_acceleration }));
  imu.unsubscribe();
});

const drive = new ROSLIB.Topic({ ros, name: "/cmd_vel", messageType: "geometry_msgs/Twist" });
drive.publish({ linear: { x: 0.2 } }); // what is left out is zero

ros.getTopics(({ topics }) => {
  console.log(JSON.stringify({ topics: topics.length }));
  setTimeout(() => ros.close(), 1000);
});
