// The map: north up, metres, no tiles. The rover, its way, where it started, a scale.

const ZOOM = 1.5;
const SCALE = { least: 0.02, most: 200 };

class MapView {
  constructor(canvas, caption) {
    Object.assign(this, { canvas, caption, scale: 6, mode: "follow", centre: { x: 0, y: 0 }, drawing: false, picture: null });
    new ResizeObserver(() => this.redraw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.drag(event));
  }

  /** Draws what is given, at the next frame; without it, the same again. */
  redraw(picture = this.picture) {
    this.picture = picture;
    if (this.drawing || !picture) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw(this.picture);
    });
  }

  zoom(by) {
    this.scale = Math.min(SCALE.most, Math.max(SCALE.least, this.scale * by));
    if (this.mode === "fit") this.mode = "free";
    this.redraw();
  }

  /** Moves the view by so many pixels. */
  pan(right, down) {
    this.mode = "free";
    this.centre = { x: this.centre.x + right / this.scale, y: this.centre.y - down / this.scale };
    this.redraw();
  }

  show(mode) {
    this.mode = mode;
    this.redraw();
  }

  drag(event) {
    // A finger scrolls the page; the buttons move the map.
    if (event.pointerType !== "mouse" || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    const move = (to) => this.pan(-to.movementX, -to.movementY);
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("lostpointercapture", () => this.canvas.removeEventListener("pointermove", move), { once: true });
  }

  aim({ track }, width, height) {
    if (this.mode === "follow" && track.here) this.centre = track.here;
    if (this.mode !== "fit" || !track.points.length) return;
    const xs = track.points.map(({ x }) => x);
    const ys = track.points.map(({ y }) => y);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    this.centre = { x: (left + right) / 2, y: (low + high) / 2 };
    const fits = Math.min((width - 80) / Math.max(right - left, 5), (height - 80) / Math.max(high - low, 5));
    this.scale = Math.min(SCALE.most, Math.max(SCALE.least, fits));
  }

  draw(picture) {
    const { canvas } = this;
    const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.lineJoin = pen.lineCap = "round";
    this.aim(picture, width, height);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const on = ({ x, y }) => [width / 2 + (x - this.centre.x) * this.scale, height / 2 - (y - this.centre.y) * this.scale];
    const step = niceStep(90 / this.scale);
    this.grid(pen, width, height, step, on, colour("grid"));
    if (picture.track.here) {
      this.way(pen, picture, on, colour);
      this.rover(pen, picture, on, colour);
    }
    this.legend(pen, width, height, step, colour("ink"));
    this.say(picture);
  }

  grid(pen, width, height, step, on, ink) {
    const { x, y } = this.centre;
    const [across, up] = [width / 2 / this.scale, height / 2 / this.scale];
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let at = Math.ceil((x - across) / step) * step; at < x + across; at += step) {
      const [px] = on({ x: at, y });
      pen.moveTo(px, 0);
      pen.lineTo(px, height);
    }
    for (let at = Math.ceil((y - up) / step) * step; at < y + up; at += step) {
      const [, py] = on({ x, y: at });
      pen.moveTo(0, py);
      pen.lineTo(width, py);
    }
    pen.stroke();
  }

  way(pen, { track }, on, colour) {
    pen.strokeStyle = colour("track");
    pen.lineWidth = 3;
    pen.beginPath();
    for (const point of track.points) pen.lineTo(...on(point));
    pen.lineTo(...on(track.here));
    pen.stroke();
    const [x, y] = on({ x: 0, y: 0 });
    pen.strokeStyle = pen.fillStyle = colour("ink");
    pen.lineWidth = 2;
    pen.strokeRect(x - 5, y - 5, 10, 10);
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.fillText("start", x + 9, y + 5);
  }

  rover(pen, { track, heading, old }, on, colour) {
    const [x, y] = on(track.here);
    pen.save();
    pen.translate(x, y);
    pen.strokeStyle = colour("ink");
    pen.fillStyle = old ? colour("map") : colour("bad");
    pen.lineWidth = 2.5;
    pen.setLineDash(old ? [4, 3] : []);
    pen.beginPath();
    if (heading === null) pen.arc(0, 0, 9, 0, 2 * Math.PI);
    else {
      pen.rotate((heading * Math.PI) / 180);
      for (const [px, py] of [[0, -18], [12, 14], [0, 7], [-12, 14]]) pen.lineTo(px, py);
      pen.closePath();
    }
    pen.fill();
    pen.stroke();
    pen.restore();
  }

  legend(pen, width, height, step, ink) {
    const long = step * this.scale;
    pen.strokeStyle = pen.fillStyle = ink;
    pen.lineWidth = 3;
    pen.beginPath();
    pen.moveTo(16, height - 24);
    pen.lineTo(16, height - 16);
    pen.lineTo(16 + long, height - 16);
    pen.lineTo(16 + long, height - 24);
    pen.stroke();
    pen.font = "600 14px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.fillText(step >= 1000 ? `${step / 1000} km` : `${step} m`, 22, height - 24);
    pen.textAlign = "center";
    pen.fillText("N", width - 24, 22);
    pen.beginPath();
    for (const [dx, dy] of [[0, 28], [8, 52], [0, 46], [-8, 52]]) pen.lineTo(width - 24 + dx, dy);
    pen.fill();
  }

  /** The same in words, for who does not see it. */
  say({ track, heading, headingFrom, old }) {
    let text = "No position yet.";
    if (track.here) {
      const from = track.distance < 1 ? "at its start" : `${track.distance.toFixed(0)} m ${compass(track.bearing)} of its start`;
      const facing = heading === null ? "" : `, ${headingFrom} ${heading.toFixed(0)}° (${compass(heading)})`;
      text = `${old ? "Last known: the" : "The"} rover is ${from}${facing}. North is up.`;
    }
    if (this.caption.textContent !== text) this.caption.textContent = text;
  }
}

/** 1, 2 or 5 times a power of ten, at least so much. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((step) => step * power >= least * 0.999);
}
