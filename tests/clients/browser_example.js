const ports = [8080, 8081, 8082, 8083];
function connect(at) {
  const socket = new WebSocket(`ws://127.0.0.1:${ports[at]}/telemetry`);
  const next = () => {                        // closed, or silent: the next endpoint
    socket.onclose = socket.onmessage = null;
    clearTimeout(watch);
    socket.close();
    setTimeout(connect, 250, (at + 1) % ports.length);
  };
  let watch = setTimeout(next, 2000);
  socket.onclose = next;
  socket.onmessage = (event) => {
    clearTimeout(watch);
    watch = setTimeout(next, 2000);
    const { type, data } = JSON.parse(event.data);
    if (type === "telemetry") console.log(data.mission_status, data.emergency_stop, data.age.emergency_stop);
  };
}
connect(0);
