// The emergency stop: two presses, then the same command again and again, until the rover has accepted it
// or the operator takes it back.

/** How long a first press waits for the second one. */
const ARMED_MS = 6000;
/** Interval at which an unanswered stop is sent again. */
const REPEAT_MS = 700;
/** Silence after which the answer is not just on its way. */
const UNHEARD_MS = 900;
const UNHEARD = "asked, not yet heard by the rover: use the red button";

class StopControl {
  /** `accepted()` is called when the rover is stopped, `change()` when it is known or not that it heard. */
  constructor(link, requests, { accepted, change }) {
    Object.assign(this, { link, requests, accepted, change, armed: 0, pending: null });
    $("stop").onclick = () => this.press();
    $("stop-cancel").onclick = () => {
      if (this.pending) this.end("Taken back. If the rover has heard it, it stays stopped.");
      this.disarm();
      $("stop").focus();
    };
    // Who closes or reloads the page takes the stop back without meaning to: the browser asks first.
    addEventListener("beforeunload", (event) => this.pending && event.preventDefault());
  }

  press() {
    if (this.pending) return;
    if (this.armed) return this.engage();
    this.armed = setTimeout(() => this.disarm(), ARMED_MS);
    $("stop").classList.add("armed");
    write($("stop"), "Press again to stop the rover");
    write($("stop-cancel"), "Cancel");
    $("stop-cancel").hidden = false;
  }

  disarm() {
    clearTimeout(this.armed);
    this.armed = 0;
    $("stop").classList.remove("armed");
    write($("stop"), this.pending ? "Stop asked" : "Emergency stop");
    write($("stop-cancel"), "Take back");
    $("stop-cancel").hidden = !this.pending;
  }

  engage() {
    const id = `page-${Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16)).join("")}`;
    const at = new Date().toLocaleTimeString([], { hour12: false });
    const message = { type: "emergency_stop", id, reason: "pressed on the web page" };
    this.pending = { id, message, at, since: clock(), refused: "", waits: true, timer: setInterval(() => this.repeat(), REPEAT_MS) };
    this.disarm();
    this.repeat();
  }

  /** First to the serving endpoint, then to all and over HTTP: the rover does an id once. */
  repeat() {
    const { link, pending } = this;
    const waited = clock() - pending.since;
    const late = waited > 0.5 * REPEAT_MS;
    const sent = link.send(pending.message, late);
    pending.waits = sent && waited < UNHEARD_MS && link.active !== null && !link.suspect;
    if (late || !sent) this.request();
    this.show();
  }

  async request() {
    const answer = await this.requests.engage(this.pending.message);
    if (answer) this.answered({ tier: "page's own" }, answer);
  }

  get isUnheard() { return this.pending !== null && (!this.pending.waits || this.pending.refused !== ""); }

  show() {
    const { at, refused } = this.pending;
    write($("stop-answer"), this.isUnheard ? `${at} ${UNHEARD}. ${refused}`.trim() : "Sent; waiting for the rover's answer.");
    this.change();
  }

  /** An endpoint that has just connected gets an unanswered stop at once. */
  connected(end) {
    if (this.pending) end.send(this.pending.message);
  }

  answered(end, { id, accepted, message }) {
    if (this.pending?.id !== id) return;
    if (accepted) {
      this.end(`Accepted by the ${end.tier} endpoint: ${message}`);
      return this.accepted();
    }
    // Another endpoint may accept it.
    this.pending.refused = `Refused by the ${end.tier} endpoint: ${message}`;
    this.show();
  }

  end(words) {
    clearInterval(this.pending?.timer);
    this.pending = null;
    this.disarm();
    write($("stop-answer"), words);
    this.change();
  }
}
