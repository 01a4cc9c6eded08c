"use strict";

// ---- The document as a run read it, and what of it a word of the summary took its weight from ------------------

class Reader {
  #container;
  #unread;
  #spans = [];
  #document = null; // of the run whose summary is pointed at
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #shades = null;
  #last = null;

  constructor(container, unread, ramp) {
    this.#container = container;
    this.#unread = unread;
    const recolour = () => {
      this.#shades = mixRamp(this.#dark.matches);
      paintRamp(ramp, this.#shades.colours);
      if (this.#last) this.light(...this.#last);
    };
    this.#dark.addEventListener("change", recolour);
    recolour();
  }

  /** Lay out what a run read; it is the same for all its summaries. */
  show(answer) {
    if (this.#document === answer) return;
    this.#document = answer;
    this.#last = null;
    this.#container.replaceChildren();
    this.#spans = answer.document.map((word, place) => {
      const span = document.createElement("span"), bare = word.trimStart();
      span.textContent = bare || "end";
      if (!bare) span.className = "end";
      this.#container.append(place === 0 ? "" : spaceBefore(word), span);
      return span;
    });
    if (answer.unread) {
      const rest = document.createElement("span");
      rest.className = "rest";
      rest.textContent = answer.unread.trimStart();
      this.#container.append(spaceBefore(answer.unread), rest);
    }
    this.#unread.textContent = this.#remark(answer);
  }

  /** How what stands here differs from the text. */
  #remark({ read, total, parts }) {
    if (parts > 1) {
      return `All ${count(total)} tokens were read, in ${parts} parts. Above stand the summaries of these parts, of which the last `
        + "summary was made.";
    }
    return read >= total ? "" : `Read the first ${count(read)} of ${count(total)} tokens (${percent(read / total)}): `
      + "that is as much as the model takes. The rest is paler.";
  }

  /** Shade each word by row `t` of `weights`; returns the places of the greatest, greatest first. */
  light(weights, t) {
    this.#last = [weights, t];
    const S = this.#spans.length, level = (s) => weights.levels[t * S + s];
    const order = [...Array(S).keys()].sort((a, b) => level(b) - level(a)).filter((s) => level(s) > 0);
    this.#spans.forEach((span, s) => {
      const lit = level(s) > 8;
      span.style.backgroundColor = lit ? this.#shades.colours[level(s)] : "";
      span.style.color = lit ? this.#shades.inks[level(s)] : "";
    });
    if (order.length) this.#reveal(this.#spans[order[0]]);
    return order.map((s) => ({ text: this.#spans[s].textContent, weight: level(s) * weights.scales[t] }));
  }

  clear() {
    this.#last = null;
    for (const span of this.#spans) span.style.backgroundColor = span.style.color = "";
  }

  /** Scroll the document, and nothing else. */
  #reveal(span) {
    const panel = this.#container, top = span.offsetTop;
    if (top < panel.scrollTop || top + span.offsetHeight > panel.scrollTop + panel.clientHeight) {
      panel.scrollTop = top - panel.clientHeight / 2;
    }
  }
}

/** A line break comes with a space, which is not for the eye. */
const spaceBefore = (word) => (/^\s*\n/.test(word) ? "\n" : " ");
const count = (number) => number.toLocaleString("en");
