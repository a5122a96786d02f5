// Prints where the rover is, once: node foxglove_odometry.mjs ws://127.0.0.1:8080
import protocol from "@foxglove/ws-protocol";
import { parse } from "@foxglove/rosmsg";
import { MessageReader } from "@foxglove/rosmsg2-serialization";
import WebSocket from "ws";

const { FoxgloveClient } = protocol;
const socket = new WebSocket(process.argv[2], [FoxgloveClient.SUPPORTED_SUBPROTOCOL]);
const client = new FoxgloveClient({ ws: socket });
const readers = new Map();

client.on("error", (error) => console.error(error.message));
client.on("advertise", (channels) => {
  for (const channel of channels.filter((channel) => channel.topic === "/odom")) {
    const reader = new MessageReader(parse(channel.schema, { ros2: true }));
    readers.set(client.subscribe(channel.id), reader);
  }
});
client.on("message", ({ subscriptionId, data }) => {
  const odometry = readers.get(subscriptionId).readMessage(data);
  console.log(JSON.stringify({ frame: odometry.header.frame_id, position: odometry.pose.pose.position }));
  client.close();
});
