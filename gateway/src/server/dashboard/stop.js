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
  constructor(link) {
    Object.assign(this, { link, armed: 0, pending: null });
    $("stop").onclick = () => this.press();
    $("stop-cancel").onclick = () => {
      if (this.pending) this.end("Taken back. If the rover has heard it, it stays stopped.");
      this.disarm();
      $("stop").focus();
    };
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
    this.pending = { id, message, at, since: clock(), refused: "", timer: setInterval(() => this.repeat(), REPEAT_MS) };
    this.disarm();
    this.repeat();
  }

  /** First to the serving endpoint, then to all: the rover does an id once. */
  repeat() {
    const { message, at, since, refused } = this.pending;
    const waited = clock() - since;
    const sent = this.link.send(message, waited > 0.5 * REPEAT_MS);
    const waits = sent && waited < UNHEARD_MS && !refused;
    write($("stop-answer"), waits ? "Sent; waiting for the rover's answer." : `${at} ${UNHEARD}. ${refused}`.trim());
  }

  /** An endpoint that has just connected gets an unanswered stop at once. */
  connected(end) {
    if (this.pending) end.send(this.pending.message);
  }

  answered(end, { id, accepted, message }) {
    if (this.pending?.id !== id) return;
    if (accepted) return this.end(`Accepted by the ${end.tier} endpoint: ${message}`);
    // Another endpoint may accept it.
    this.pending.refused = `Refused by the ${end.tier} endpoint: ${message}`;
    write($("stop-answer"), `${this.pending.at} ${UNHEARD}. ${this.pending.refused}`);
  }

  end(words) {
    clearInterval(this.pending?.timer);
    this.pending = null;
    this.disarm();
    write($("stop-answer"), words);
  }
}
