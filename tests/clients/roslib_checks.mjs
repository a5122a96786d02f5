// Checks with roslib, for Node and for a page. Every check returns its observations; the test compares them.

const within = (what, seconds, start) =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${what}: nothing in ${seconds} s`)), seconds * 1000);
    start(
      (value) => {
        clearTimeout(late);
        resolve(value);
      },
      (why) => {
        clearTimeout(late);
        reject(new Error(`${what}: ${why}`));
      },
    );
  });

const connect = async (ROSLIB, url) => {
  const ros = new ROSLIB.Ros();
  ros.statuses = [];
  ros.on("status", (status) => ros.statuses.push(status));
  ros.on("error", () => {});
  const open = within("connection", 20, (done) => ros.on("connection", done));
  ros.connect(url);
  await open;
  return ros;
};

// The first messages of a topic.
const listen = (ROSLIB, ros, name, messageType, options = {}, count = 1) => {
  const topic = new ROSLIB.Topic({ ros, name, messageType, ...options });
  const messages = [];
  return within(`${name} ${JSON.stringify(options)}`, 20, (done) =>
    topic.subscribe((message) => {
      messages.push(message);
      if (messages.length === count) {
        topic.unsubscribe();
        done(messages);
      }
    }),
  );
};

const call = (ROSLIB, ros, name, serviceType, request = {}) =>
  within(name, 20, (done, fail) =>
    new ROSLIB.Service({ ros, name, serviceType }).callService(request, done, fail),
  );

// Sends an operation by hand and waits for the status or response with its id.
const raw = (ros, message, event) =>
  within(JSON.stringify(message).slice(0, 80), 20, (done) => {
    ros.once(event, done);
    ros.callOnConnection(message);
  });

const graph = async (ROSLIB, ros) => {
  const ask = (what, ...args) => within(what, 20, (done, fail) => ros[what](...args, done, fail));
  const details = await ask("getMessageDetails", "geometry_msgs/Twist");
  const rawTypes = await ask("getTopicsAndRawTypes");
  const odom = rawTypes.topics.indexOf("/odom");
  return {
    topics: (await ask("getTopics")).topics,
    nodes: await ask("getNodes"),
    type: await ask("getTopicType", "/odom"),
    of_type: await ask("getTopicsForType", "sensor_msgs/msg/Imu"),
    decoded: ros.decodeTypeDefs(details),
    definition: odom < 0 ? "" : rawTypes.typedefs_full_text[odom],
    services: await ask("getServices"),
    actions: await ask("getActionServers"),
    time: (await call(ROSLIB, ros, "/rosapi/get_time", "rosapi/GetTime")).time,
    version: await call(ROSLIB, ros, "rosapi/get_ros_version", "rosapi/GetROSVersion"),
  };
};

// On the simulated rover: everything that needs no ROS node on the other side.
export const rover = async (ROSLIB, url, token) => {
  const ros = await connect(ROSLIB, url);
  const drive = { op: "publish", id: "drive", topic: "/cmd_vel", type: "geometry_msgs/Twist", msg: {} };
  let refused = null;
  let role = null;
  if (token) {
    refused = (await raw(ros, drive, "status:drive")).msg;
    role = (await raw(ros, { op: "auth", id: "who", token }, "status:who")).msg;
  }
  const seen = { refused, role };
  const [odom] = await listen(ROSLIB, ros, "/odom", "nav_msgs/Odometry");
  seen.json = { frame: odom.header.frame_id, x: typeof odom.pose.pose.position.x };
  const [scan] = await listen(ROSLIB, ros, "/scan", "sensor_msgs/LaserScan", { compression: "cbor" });
  seen.cbor = { ranges: scan.ranges.constructor.name, length: scan.ranges.length, frame: scan.header.frame_id };
  const [imu] = await listen(ROSLIB, ros, "/imu/data", "sensor_msgs/Imu", { compression: "cbor-raw" });
  seen.raw = { bytes: imu.bytes.length, kind: imu.bytes.constructor.name, secs: imu.secs, nsecs: imu.nsecs };
  const [picture] = await listen(ROSLIB, ros, "/odom", "nav_msgs/Odometry", { compression: "png" });
  seen.png = { frame: picture.header.frame_id };
  const [bare] = await listen(ROSLIB, ros, "battery_state", "sensor_msgs/BatteryState");
  seen.bare = typeof bare.percentage;
  const [latched] = await listen(ROSLIB, ros, "/tf_static", "tf2_msgs/TFMessage");
  seen.latched = latched.transforms.length;
  const start = Date.now();
  await listen(ROSLIB, ros, "/odom", "nav_msgs/Odometry", { throttle_rate: 250 }, 5);
  seen.throttled_ms = Date.now() - start;
  seen.graph = await graph(ROSLIB, ros);
  const stop = new ROSLIB.Topic({ ros, name: "/emergency_stop", messageType: "std_msgs/Bool" });
  const speed = new ROSLIB.Topic({ ros, name: "/odom", messageType: "nav_msgs/Odometry" });
  stop.publish({ data: true });
  seen.stops = await within("the rover stops", 20, (done) =>
    speed.subscribe((message) => Math.abs(message.twist.twist.linear.x) < 0.01 && done(true)),
  );
  speed.unsubscribe();
  stop.publish({ data: false });
  seen.errors = [
    (await raw(ros, { op: "dance", id: "1" }, "status:1")).msg,
    (await raw(ros, { op: "publish", id: "2", topic: "/cmd_vel", msg: { wheels: 4 } }, "status:2")).msg,
    (await raw(ros, { op: "subscribe", id: "3", topic: "/odom", type: "a/B" }, "status:3")).msg,
    (await raw(ros, { op: "call_service", id: "4", service: "/nobody" }, "4")).values,
  ];
  ros.transport.socket.send("{ this is no JSON");
  await listen(ROSLIB, ros, "/odom", "nav_msgs/Odometry");
  seen.alive = true;
  seen.statuses = ros.statuses.map((status) => status.level);
  ros.close();
  return seen;
};

// With a robot in ROS on the other side of the gateway.
export const robot = async (ROSLIB, url) => {
  const ros = await connect(ROSLIB, url);
  const asked = [];
  const service = new ROSLIB.Service({ ros, name: "/roslib/answer", serviceType: "std_srvs/Trigger" });
  await service.advertise((request, response) => {
    asked.push(request);
    response.success = true;
    response.message = "roslib answers";
    return true;
  });
  const drive = new ROSLIB.Topic({ ros, name: "/cmd_vel", messageType: "geometry_msgs/Twist" });
  let pushed = 0;
  const push = setInterval(() => {
    drive.publish({ linear: { x: 0.5 } });
    pushed += 1;
  }, 100);
  const imu = await listen(ROSLIB, ros, "/imu/data", "sensor_msgs/Imu", {}, 20);
  const numbers = imu.map((message) => Number(message.header.frame_id));
  const [latched] = await listen(ROSLIB, ros, "/tf_static", "tf2_msgs/TFMessage");
  // Messages enough for a subscriber in ROS that is discovered late.
  await within("requests from ROS, and a hundred messages to it", 60, (done) => {
    const look = setInterval(() => asked.length >= 3 && pushed >= 100 && (clearInterval(look), done()), 50);
  });
  clearInterval(push);
  ros.close();
  return { numbers, latched: latched.transforms.length, asked: asked.length };
};

// One client serves a service and an action, another one uses them, through ROS.
export const serving = async (ROSLIB, url) => {
  const [server, client] = [await connect(ROSLIB, url), await connect(ROSLIB, url)];
  const seen = { feedback: [] };
  const service = { name: "/roslib/switch", serviceType: "std_srvs/SetBool" };
  await new ROSLIB.Service({ ros: server, ...service }).advertiseAsync(async ({ data }) => {
    return { success: data, message: "switched" };
  });
  const action = { name: "/roslib/fibonacci", actionType: "example_interfaces/action/Fibonacci" };
  const served = new ROSLIB.Action({ ros: server, ...action });
  served.advertise(
    (goal, id) => {
      served.sendFeedback(id, { sequence: [0, 1] });
      // A large goal runs until it is cancelled.
      if (goal.order < 10) setTimeout(() => served.setSucceeded(id, { sequence: [0, 1, 1, goal.order] }), 300);
    },
    (id) => served.setCanceled(id, { sequence: [9] }),
  );
  const asked = new ROSLIB.Action({ ros: client, ...action });
  // Until ROS has discovered them.
  for (let tries = 0; tries < 60 && !seen.switched; tries += 1) {
    seen.switched = await call(ROSLIB, client, service.name, service.serviceType, { data: true }).catch((why) => {
      seen.last = String(why);
      return new Promise((later) => setTimeout(later, 250));
    });
  }
  const pursue = (order, meanwhile = () => {}) =>
    within(`a goal of ${order}`, 20, (done) => {
      const tell = (feedback) => {
        seen.feedback.push(feedback);
        meanwhile(id);
      };
      const id = asked.sendGoal({ order }, done, tell, done);
    });
  const goals = async () => {
    seen.result = await pursue(5);
    seen.cancelled = String(await pursue(50, (id) => asked.cancelGoal(id)));
  };
  for (let tries = 0; tries < 60 && !seen.result?.sequence; tries += 1) {
    await goals().catch((why) => (seen.last = String(why)));
    if (!seen.result?.sequence) await new Promise((later) => setTimeout(later, 250));
  }
  server.close();
  client.close();
  return seen;
};

// The simulated rover's services and parameters.
export const services = async (ROSLIB, url) => {
  const ros = await connect(ROSLIB, url);
  const param = new ROSLIB.Param({ ros, name: "/navigation:max_speed" });
  const ask = (what, ...args) => within(what, 20, (done, fail) => ros[what](...args, done, fail));
  const seen = {
    services: await ask("getServices"),
    type: await ask("getServiceType", "/autonomy/enable"),
    enabled: await call(ROSLIB, ros, "/autonomy/enable", "std_srvs/SetBool", { data: true }),
    positional: (
      await raw(ros, { op: "call_service", id: "p", service: "/autonomy/enable", args: [true] }, "p")
    ).values,
    names: await ask("getParams"),
    details: await ask("getServiceRequestDetails", "std_srvs/SetBool"),
    before: await within("get", 20, (done, fail) => param.get(done, fail)),
  };
  await within("set", 20, (done, fail) => param.set(0, done, fail));
  seen.after = await within("get", 20, (done, fail) => param.get(done, fail));
  ros.close();
  return seen;
};
