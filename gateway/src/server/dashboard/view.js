// What is on the screen. Numbers are written where they changed; only words are spoken.

const $ = (id) => document.getElementById(id);
const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const fixed = (value, digits) => (isNumber(value) ? value.toFixed(digits) : "–");
const duration = (seconds) => {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return [h, m, s].map((part) => String(part).padStart(2, "0")).join(":");
};
const hottest = (motors) => Object.entries(motors ?? {}).filter(([, celsius]) => isNumber(celsius)).sort((a, b) => b[1] - a[1])[0];

/** A part that is no number has come as null, which JavaScript would take for 0. */
const speed = ({ x, y }) => (isNumber(x) && isNumber(y) ? Math.hypot(x, y) : null);

/** The tiles: title, the keys that they show (the first one's age counts), and value, unit and note from them. */
const TILES = [
  ["Speed", ["velocity"], ({ velocity }) => [fixed(speed(velocity.linear), 2), "m/s"]],
  ["Heading", ["heading"], ({ heading }) => [fixed(heading, 0), "°", compass(heading)]],
  ["From the start", ["gps_position"], (_, { track }) => [fixed(track.distance, 1), "m", track.distance >= 1 ? compass(track.bearing) : ""]],
  ["Battery", ["battery_level"], ({ battery_level }) => [fixed(battery_level, 0), "%"], "battery"],
  ["Voltage", ["voltage"], ({ voltage }) => [fixed(voltage, 1), "V"]],
  ["Current", ["current"], ({ current }) => [fixed(current, 1), "A", current < 0 ? "discharging" : ""]],
  ["Mission time", ["mission_time"], ({ mission_time }) => [duration(mission_time), ""]],
  ["Samples", ["samples_collected"], ({ samples_collected }) => [String(samples_collected), ""]],
  ["Hottest motor", ["motor_temperatures"], ({ motor_temperatures }) => {
    const [name, celsius] = hottest(motor_temperatures) ?? ["", null];
    return [fixed(celsius, 0), "°C", name.replaceAll("_", " ")];
  }],
  ["System health", ["system_health"], ({ system_health }) => [String(system_health), ""]],
  ["Boundary", ["boundary_violation"], ({ boundary_violation }) => [boundary_violation ? "outside" : "inside", ""]],
  ["Position", ["gps_position"], ({ gps_position: p }) => [`${fixed(p.lat, 6)}° ${fixed(p.lon, 6)}°`, "", isNumber(p.alt) ? `${fixed(p.alt, 0)} m above the ellipsoid` : ""], "small"],
];

const LED_WORDS = {
  red: "autonomous operation", blue: "teleoperation", green: "at the target", off: "no light",
};

/** An age as people read it; it need not be exact to be honest. */
function ageText(age) {
  if (age === null) return "never received";
  if (age < 1000) return "< 1 s ago";
  if (age < 60_000) return `${Math.floor(age / 1000)} s ago`;
  return age < 3_600_000 ? `${Math.floor(age / 60_000)} min ago` : `${Math.floor(age / 3_600_000)} h ago`;
}

function acknowledgeButton() {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "acknowledge", hidden: true, textContent: "Acknowledge" });
  return button;
}

class View {
  constructor(map) {
    Object.assign(this, { map, tiles: [], shown: new Map(), spoken: "" });
    for (const [title, keys, format, kind] of TILES) this.tiles.push(this.tile(title, keys, format, kind));
  }

  tile(title, keys, format, kind) {
    const make = (name, className, parent) => parent.appendChild(Object.assign(document.createElement(name), { className }));
    const box = make("div", "tile", $("tiles"));
    box.dataset.key = keys[0];
    make("h3", "", box).textContent = title;
    const line = make("p", kind === "small" ? "value small" : "value", box);
    const [number, unit] = [make("span", "number", line), make("span", "unit", line)];
    const bar = kind === "battery" ? make("div", "", make("div", "bar", box)) : null;
    const [note, age] = [make("p", "note", box), make("p", "age", box)];
    return { box, keys, format, number, unit, bar, note, age };
  }

  draw({ values, track, lamp, link, requests, stop, alarms, t }) {
    for (const tile of this.tiles) this.drawTile(tile, { values, track, t });
    // While nothing answers, the rover may have been stopped or released.
    const silent = stop.isUnheard || (link.isLost(t) && !requests.answers(t));
    this.headlines(values, lamp, silent, t);
    this.drawAlarms(alarms);
    this.drawLink(link, t);
    this.drawControl(link, requests, t);
  }

  /** The age below a value, and the look of an old one. */
  drawAge(box, age, key, values, t) {
    write(age, ageText(values.age(key, t)));
    box.classList.toggle("old", values.isOld(key, t));
  }

  drawTile({ box, keys, format, number, unit, bar, note, age }, { values, track, t }) {
    const all = Object.fromEntries(keys.map((key) => [key, values.get(key)]));
    const has = keys.every((key) => all[key] !== undefined);
    let parts = ["–", "", ""];
    if (has) {
      try {
        parts = format(all, { track });
      } catch {
        // A rover's own type with the name of a usual one: not shown is better than shown wrong.
      }
    }
    write(number, parts[0]);
    write(unit, parts[1] && parts[1] !== "°" ? `\u202f${parts[1]}` : parts[1]);
    write(note, parts[2] ?? "");
    if (bar && has) {
      bar.style.width = `${Math.min(100, Math.max(0, all.battery_level))}%`;
      bar.parentElement.classList.toggle("low", all.battery_level < BATTERY_LOW);
    }
    this.drawAge(box, age, keys[0], values, t);
  }

  headlines(values, lamp, silent, t) {
    const text = (key, none) => (values.get(key) === undefined ? none : String(values.get(key)).slice(0, 120));
    write($("mission-text"), text("current_mission", "No mission heard yet"));
    write($("mission-age"), values.isOld("current_mission", t) ? ageText(values.age("current_mission", t)) : "");
    write($("status"), text("mission_status", "Waiting for the rover"));
    this.drawAge($("now"), $("status-age"), "mission_status", values, t);

    const stop = values.get("emergency_stop");
    const unsure = stop === undefined || silent;
    write($("stop-text"), unsure ? "Not known" : stop ? "STOPPED" : "Not engaged");
    $("stop-state").classList.toggle("engaged", stop === true);
    this.drawAge($("stop-state"), $("stop-age"), "emergency_stop", values, t);

    const auto = values.get("autonomous_mode");
    write($("autonomy-text"), auto === undefined ? "Not known" : auto ? "Autonomous" : "Not autonomous");
    this.drawAge($("autonomy"), $("autonomy-age"), "autonomous_mode", values, t);

    const { colour, flashing } = lamp.state;
    write($("led-text"), colour === null ? "Not known" : `${flashing ? "Flashing " : ""}${colour}`);
    write($("led-meaning"), colour === "red" && flashing ? "emergency stop" : (LED_WORDS[colour] ?? ""));
    $("led-lamp").classList.toggle("flashing", flashing);
    const paint = colour && CSS.supports("color", colour) ? (colour === "blue" ? "#2f6bff" : colour) : "transparent";
    if ($("led-lamp").style.color !== paint) $("led-lamp").style.background = $("led-lamp").style.color = paint;
    this.drawAge($("led"), $("led-age"), "led", values, t);
    this.speak([text("mission_status", ""), auto === undefined ? "" : auto ? "autonomous" : "not autonomous"]);
  }

  /** Says a new state once. */
  speak(words) {
    const text = words.filter(Boolean).join(", ");
    if (text !== this.spoken) write($("spoken"), (this.spoken = text));
  }

  drawAlarms(alarms) {
    const shown = alarms.shown;
    const list = $("alarm-list");
    for (const [id, item] of this.shown) {
      if (!shown.some((alarm) => alarm.id === id)) {
        item.remove();
        this.shown.delete(id);
      }
    }
    // In place: who listens hears what is added and nothing else.
    shown.forEach((alarm, at) => {
      let item = this.shown.get(alarm.id);
      if (!item) {
        item = document.createElement("p");
        item.append(document.createElement("span"), acknowledgeButton(), document.createElement("time"));
        item.classList.toggle("severe", alarm.severe);
        item.lastChild.dateTime = alarm.since.toISOString();
        item.lastChild.textContent = `since ${alarm.since.toLocaleTimeString("en-GB")}`;
        this.shown.set(alarm.id, item);
      }
      item.classList.toggle("severe", alarm.severe);
      write(item.firstChild, alarm.text);
      const button = item.children[1];
      button.hidden = !alarm.acknowledge;
      button.onclick = async () => {
        button.disabled = true;
        const why = await alarm.acknowledge?.();
        button.disabled = false;
        if (why) write(button, `Not acknowledged: ${why}`);
      };
      if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
    });
    const more = alarms.list.length - shown.length;
    write($("alarms-count"), String(alarms.list.length));
    $("alarms-none").hidden = alarms.list.length > 0;
    $("alarms-more").hidden = more <= 0;
    write($("alarms-more"), `and ${more} more`);
  }

  drawLink(link, t) {
    const { active } = link;
    const helpers = active ? link.assistants.map(({ tier }) => tier) : [];
    const lost = !active || link.isLost(t);
    const state = lost ? "lost" : link.suspect ? "searching" : link.lacks.length ? "partial" : "live";
    document.body.dataset.link = state;
    document.body.dataset.serving = active?.tier ?? "";
    const words = { live: "Live", partial: "Live on backup", searching: "Silent, looking elsewhere" };
    write($("link-state"), words[state] ?? (t - link.troubleSince < 2000 && !link.switches ? "Connecting" : "No link"));
    const names = [active?.tier, ...helpers].filter(Boolean).join(", ");
    write($("link-detail"), lost ? "what is shown is the last known" : `served by ${names}`);
    write($("served"), active
      ? `Served by ${active.url.replace("/telemetry", "")} (${names}). You are ${active.role ?? "a guest"} here.`
      : `Looking for ${link.ends.map(({ tier }) => tier).join(", ")}.`);
    $("sign-in").hidden = Boolean(active?.mayStop);
  }

  /** Who was told nothing of its rights, for want of a link, may try. */
  drawControl(link, requests, t) {
    const untold = link.ends.every((end) => end.role === null) && requests.answers(t);
    $("control").hidden = !untold && !link.ends.some((end) => end.mayStop);
  }
}
