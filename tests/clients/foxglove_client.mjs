// A client with Foxglove's own library. The second argument selects the action; the last line of output
// contains its observations.
//
//   foxglove_client.mjs URL look TOPIC…             decodes one message of each topic
//   foxglove_client.mjs URL publish TOPIC TYPE ENCODING COUNT JSON
//   foxglove_client.mjs URL misbehave               sends malformed messages, then reads /odom
//   foxglove_client.mjs URL call SERVICE ENCODING JSON
//   foxglove_client.mjs URL asset URI…
//   foxglove_client.mjs URL set PARAMETER VALUE     sets it, and waits for the update
//   foxglove_client.mjs URL graph                   the connection graph, and all parameters
import protocol from "@foxglove/ws-protocol";
import { parse } from "@foxglove/rosmsg";
import { MessageReader, MessageWriter } from "@foxglove/rosmsg2-serialization";
import WebSocket from "ws";

const { FoxgloveClient } = protocol;
const [url, deed, ...args] = process.argv.slice(2);
const PATIENCE_MS = 40_000;
const DEFINITIONS = {
  "std_msgs/msg/String": "string data",
  "std_msgs/msg/Bool": "bool data",
  "geometry_msgs/msg/Twist": `Vector3 linear
Vector3 angular
===
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z`,
};

const socket = new WebSocket(url, ["foxglove.sdk.v1", FoxgloveClient.SUPPORTED_SUBPROTOCOL]);
const client = new FoxgloveClient({ ws: socket });
const seen = { info: undefined, statuses: [], removed: [], closed: undefined };
const channels = new Map();
const services = new Map();
const waiting = new Set();

function changed() {
  for (const look of waiting) look();
}

/** Resolves with the result of `find` once it is neither undefined nor false. */
function until(what, find) {
  return new Promise((resolve, reject) => {
    const clock = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE_MS);
    const look = () => {
      const found = find();
      if (found === undefined || found === false) return;
      clearTimeout(clock);
      waiting.delete(look);
      resolve(found);
    };
    waiting.add(look);
    look();
  });
}

client.on("serverInfo", (info) => { seen.info = info; changed(); });
client.on("status", (status) => { seen.statuses.push(status); changed(); });
client.on("removeStatus", ({ statusIds }) => { seen.removed.push(...statusIds); changed(); });
client.on("advertise", (more) => { for (const channel of more) channels.set(channel.topic, channel); changed(); });
client.on("unadvertise", (ids) => {
  for (const [topic, channel] of channels) if (ids.includes(channel.id)) channels.delete(topic);
  changed();
});
client.on("advertiseServices", (more) => { for (const service of more) services.set(service.name, service); changed(); });
client.on("close", ({ code, reason }) => { seen.closed = { code, reason }; changed(); });
client.on("error", (error) => console.error(error.message));

/** Malformed messages that the library itself would never send. */
const plain = (value) => JSON.parse(JSON.stringify(value, (_, item) => {
  if (typeof item === "bigint") return item.toString();
  return ArrayBuffer.isView(item) ? Array.from(item).slice(0, 64) : item;
}));

async function decodeOne(topic) {
  const channel = await until(topic, () => channels.get(topic));
  const reader = new MessageReader(parse(channel.schema, { ros2: true }));
  const id = client.subscribe(channel.id);
  const message = await new Promise((resolve) => {
    client.on("message", (event) => {
      if (event.subscriptionId === id) resolve({ time: event.timestamp, value: reader.readMessage(event.data) });
    });
  });
  client.unsubscribe(id);
  return { ...message, schema: channel.schemaName, encoding: channel.encoding };
}

const deeds = {
  async look() {
    const messages = {};
    for (const topic of args) messages[topic] = await decodeOne(topic);
    return { messages, channels: [...channels.keys()].sort() };
  },

  async publish() {
    const [topic, schemaName, encoding, count, json] = args;
    const value = JSON.parse(json);
    const id = client.advertise({ topic, encoding, schemaName });
    const long = schemaName.split("/").length === 3 ? schemaName : schemaName.replace("/", "/msg/");
    const writer = new MessageWriter(parse(DEFINITIONS[long], { ros2: true }));
    const data = encoding === "cdr" ? writer.writeMessage(value) : new TextEncoder().encode(JSON.stringify(value));
    console.log(JSON.stringify({ ready: true }));
    for (let sent = 0; sent < Number(count); sent += 1) {
      client.sendMessage(id, data);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    client.unadvertise(id);
    await settle();
    return {};
  },

  async misbehave() {
    await until("/odom", () => channels.get("/odom"));
    const id = channels.get("/odom").id;
    for (const text of [
      "", "{", "[]", "{\"op\":\"fly\"}", "{\"op\":\"subscribe\"}", `{"op":"subscribe","subscriptions":${"[".repeat(900)}`,
      `{"op":"subscribe","subscriptions":[{"id":1,"channelId":4000000000},{"id":2,"channelId":${id}},{"id":2,"channelId":${id}}]}`,
      "{\"op\":\"unsubscribe\",\"subscriptionIds\":[77]}",
      "{\"op\":\"advertise\",\"channels\":[{\"id\":1,\"topic\":\"/x\",\"encoding\":\"protobuf\",\"schemaName\":\"a/B\"}]}",
      "{\"op\":\"advertise\",\"channels\":[{\"id\":5,\"topic\":\"/cmd_vel\",\"encoding\":\"cdr\",\"schemaName\":\"geometry_msgs/Twist\"}]}",
    ]) socket.send(text);
    for (const bytes of [[], [0], [9, 9], [1], [1, 7, 0, 0, 0, 1], [1, 5, 0, 0, 0, 0, 1, 0, 0, 1, 2], [2, 1], [2, ...Array(12).fill(255)],
      [2, 1, 0, 0, 255, 9, 0, 0, 0, 0, 0, 0, 0]]) socket.send(Uint8Array.from(bytes));
    const failure = await new Promise((resolve) => client.on("serviceCallFailure", resolve));
    client.unsubscribe(2);
    const { value } = await decodeOne("/odom");
    return { failure, position: value.pose.pose.position };
  },

  async call() {
    const [name, encoding, json] = args;
    const service = await until(name, () => services.get(name));
    const request = new MessageWriter(parse(service.requestSchema, { ros2: true }));
    const response = new MessageReader(parse(service.response.schema, { ros2: true }));
    const data = encoding === "cdr" ? request.writeMessage(JSON.parse(json)) : new TextEncoder().encode(json);
    const answer = new Promise((resolve) => {
      client.on("serviceCallResponse", (event) => resolve({
        callId: event.callId,
        response: event.encoding === "cdr" ? response.readMessage(event.data) : JSON.parse(new TextDecoder().decode(event.data)),
      }));
      client.on("serviceCallFailure", (failure) => resolve({ failure }));
    });
    client.sendServiceCallRequest({ serviceId: service.id, callId: 41, encoding, data });
    return { service, ...(await answer) };
  },

  async asset() {
    const answers = new Map();
    client.on("fetchAssetResponse", (event) => {
      const text = event.data && new TextDecoder().decode(event.data);
      answers.set(event.requestId, text === undefined ? { error: event.error } : { text });
      changed();
    });
    args.forEach((uri, index) => client.fetchAsset(uri, index));
    await until("answers", () => answers.size === args.length);
    return { assets: Object.fromEntries(args.map((uri, index) => [uri, answers.get(index)])) };
  },

  async set() {
    const [name, value] = args;
    const values = [];
    client.on("parameterValues", (event) => { values.push(event); changed(); });
    client.subscribeParameterUpdates([name]);
    client.setParameters([{ name, value: JSON.parse(value) }], "set");
    const answer = await until("answer", () => values.find((event) => event.id === "set"));
    const update = await until("update", () => values.find((event) => event.id === undefined));
    return { answer: answer.parameters, update: update.parameters };
  },

  async graph() {
    const first = new Promise((resolve) => client.on("connectionGraphUpdate", resolve));
    const parameters = new Promise((resolve) => client.on("parameterValues", resolve));
    client.subscribeConnectionGraph();
    client.getParameters([], "all");
    return { graph: await first, parameters: await parameters };
  },
};

/** Waits until earlier messages have been answered: responses come in order. */
async function settle() {
  const marker = `package://settled/${seen.statuses.length}`;
  const settled = new Promise((resolve) => client.on("fetchAssetResponse", ({ requestId }) => requestId === 999 && resolve()));
  client.fetchAsset(marker, 999);
  await settled;
}

await new Promise((resolve) => client.on("open", resolve));
await until("serverInfo", () => seen.info);
const result = await deeds[deed]();
console.log(JSON.stringify(plain({ ...seen, protocol: socket.protocol, ...result })));
client.close();
