"use strict";

// ---- The panel of one run: how its summary comes about, its words, its other hypotheses ------------------------

class Result {
  #run;
  #reader;
  #part = {};
  #answer = null;
  #shown = null; // the hypothesis whose words stand in the panel
  #spans = [];
  #token = 0; // the chosen word
  #pinned = false; // a click or key chose it: pointing elsewhere is only a glance
  #view; // tells which weights are wanted

  constructor(run, reader, view) {
    this.#run = run;
    this.#reader = reader;
    this.#view = view;
    const panel = document.getElementById("result").content.firstElementChild.cloneNode(true);
    for (const name of ["name", "facts", "state", "summary", "word", "legend", "share", "others"]) {
      this.#part[name] = panel.querySelector("." + name);
    }
    this.#part.heading = panel.querySelector("h3");
    this.#part.name.textContent = run.name;
    this.#say("The summary will appear here.");
    this.#part.summary.setAttribute("aria-label", `Summary by ${run.name}`);
    this.element = panel;
    this.#listen();
  }

  // ---- How it comes about --------------------------------------------------------------------------------------

  begin() {
    this.#answer = this.#shown = null;
    this.#spans = [];
    this.#pinned = false;
    this.stale(false);
    const { facts, word, share, summary, others, heading, legend } = this.#part;
    for (const part of [facts, word, share, summary]) part.textContent = "";
    others.replaceChildren();
    heading.hidden = legend.hidden = true;
    this.#say("sending");
  }

  /** One line of the server's answer. */
  take(event) {
    const { summary } = this.#part;
    summary.classList.toggle("growing", event.event === "partial");
    switch (event.event) {
      case "waiting":
        return this.#say(event.before ? `waiting for ${event.before} before it` : "waiting");
      case "started":
        return this.#say("reading");
      case "partial":
        this.#say(event.parts ? `summarizing ${event.parts} parts` : "writing");
        summary.textContent = event.text;
        return undefined;
      case "done":
        return this.#finish(event);
      default:
        return this.fail(event.message);
    }
  }

  fail(message) {
    this.#part.summary.classList.remove("growing");
    if (!this.#answer) this.#part.summary.classList.add("stale");
    this.#say(message, true);
  }

  /** Whether this is of another text than the one in the form. */
  stale(is) {
    this.#part.summary.classList.toggle("stale", is);
    this.element.classList.toggle("stale", is);
  }

  /** Whether some of the text was left out. */
  get cut() {
    return this.done && this.#answer.read < this.#answer.total;
  }

  get done() {
    return this.#answer !== null;
  }

  #say(state, failed = false) {
    this.#part.state.textContent = state;
    this.#part.state.classList.toggle("failed", failed);
  }

  #finish(answer) {
    for (const summary of answer.summaries) {
      for (const kind of ["looked", "pointed"]) summary[kind] &&= matrix(summary[kind]);
    }
    this.#answer = answer;
    this.#say("");
    const read = answer.read >= answer.total ? "all of" : `${percent(answer.read / answer.total)} of`;
    this.#part.facts.textContent = `${answer.seconds.toFixed(answer.seconds < 9.95 ? 1 : 0)} s, `
      + `read ${read} ${count(answer.total)} tokens${answer.parts > 1 ? ` in ${answer.parts} parts` : ""}`;
    this.#listOthers();
    this.#show(answer.summaries[0]);
    this.#reader.show(answer);
  }

  // ---- The hypotheses ------------------------------------------------------------------------------------------

  #listOthers() {
    const { others, heading } = this.#part, several = this.#answer.summaries.length > 1;
    heading.hidden = !several;
    heading.textContent = `${this.#answer.summaries.length} hypotheses, best first`;
    if (!several) return;
    others.replaceChildren(...this.#answer.summaries.map((summary) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const score = document.createElement("span"), text = document.createElement("span");
      button.type = "button";
      score.className = "score";
      score.textContent = summary.score.toFixed(3);
      score.title = `score; the log-probability of its ${summary.tokens} tokens is ${summary.log_probability.toFixed(2)}`;
      text.className = "text";
      text.append(...marked(summary.words, this.#answer.summaries[0].words));
      button.append(score, text);
      button.addEventListener("click", () => this.#show(summary));
      item.append(button);
      return item;
    }));
  }

  #show(summary) {
    this.#shown = summary;
    this.#token = 0;
    this.#pinned = false;
    this.#reader.clear();
    this.#part.word.textContent = "";
    [...this.#part.others.querySelectorAll("button")].forEach((button, i) => {
      button.setAttribute("aria-pressed", this.#answer.summaries[i] === summary);
    });
    this.#layOut();
    this.#sumUp();
  }

  #layOut() {
    const { words, novel, copied } = this.#shown, container = this.#part.summary;
    container.replaceChildren();
    this.#spans = words.map((word, t) => {
      const span = document.createElement("span"), bare = word.trimStart();
      span.textContent = bare;
      span.dataset.t = t;
      span.tabIndex = t === 0 ? 0 : -1;
      span.setAttribute("role", "option");
      span.setAttribute("aria-selected", "false");
      if (novel[t]) span.classList.add("novel");
      const isNew = novel[t] || !/[\p{L}\p{N}]/u.test(bare); // whose comma or full stop may well be copied
      const share = isNew ? 0 : copied ? copied[t] : 1;
      if (share >= 0.05) {
        span.classList.add("mark");
        span.style.setProperty("--strength", percent(share));
      }
      container.append(t === 0 ? "" : spaceBefore(word), span);
      return span;
    });
    if (!words.length) container.textContent = "(nothing)";
  }

  #sumUp() {
    const { words, novel, copied, tokens } = this.#shown, { legend, share } = this.#part, { parts } = this.#answer;
    const source = parts > 1 ? "the summaries of the parts" : "the document";
    const sample = (className, text) => {
      const entry = document.createElement("span"), word = document.createElement("span");
      word.className = className;
      word.textContent = "word";
      entry.append(word, text);
      return entry;
    };
    legend.hidden = !words.length;
    legend.replaceChildren(
      sample("mark", copied ? "copied by the pointer, the stronger the surer" : `also in ${source}`),
      sample("novel", `not in ${source}${parts > 1 ? "" : " as read"}`),
    );
    const novelties = novel.filter(Boolean).length, part = novelties ? ` (${percent(novelties / words.length)})` : "";
    const surely = copied ? `, ${copied.filter((each) => each > 0.5).length} more copied than chosen freely` : "";
    share.textContent = `${words.length} words, ${tokens} tokens; ${novelties} not in ${source}${part}${surely}.`;
  }

  // ---- The words -----------------------------------------------------------------------------------------------

  /** Show again what is chosen, with another kind of weights. */
  refresh() {
    if (this.#shown && this.#pinned) this.#point(this.#token);
  }

  #point(t) {
    this.#reader.show(this.#answer);
    this.#spans.forEach((span, i) => {
      span.setAttribute("aria-selected", i === t);
      span.tabIndex = i === t ? 0 : -1;
    });
    const { copied, pointed } = this.#shown, wanted = this.#view();
    const kind = pointed && (wanted === "pointed" || (wanted === "source" && copied[t] > 0.5)) ? "pointed" : "looked";
    const most = this.#reader.light(this.#shown[kind], t).slice(0, 4)
      .map(({ text, weight }) => `“${text}” ${percent(weight)}`).join(", ");
    this.#part.word.textContent = `“${this.#spans[t].textContent}”`
      + `${copied ? ` was copied with probability ${copied[t].toFixed(2)};` : ":"} `
      + `${kind === "pointed" ? "the pointer pointed at" : "the model looked at"} ${most}`;
    this.element.dispatchEvent(new CustomEvent("pointed", { bubbles: true, detail: this }));
  }

  /** Forget the word: another panel has one. */
  release() {
    this.#pinned = false;
    this.#part.word.textContent = "";
    for (const span of this.#spans) span.setAttribute("aria-selected", "false");
  }

  #choose(t, focus = true) {
    this.#pinned = true;
    this.#token = Math.min(Math.max(t, 0), this.#spans.length - 1);
    this.#point(this.#token);
    if (focus) this.#spans[this.#token].focus();
  }

  #leave() {
    if (this.#pinned) return this.#point(this.#token);
    this.#reader.clear();
    return this.release();
  }

  /** The word of the line above or below that stands nearest. */
  #lineAway(t, direction) {
    const { offsetTop: here, offsetLeft: left } = this.#spans[t];
    const tops = this.#spans.map((span) => span.offsetTop).filter((top) => direction * (top - here) > 4);
    if (!tops.length) return t;
    const line = direction > 0 ? Math.min(...tops) : Math.max(...tops);
    const distance = (i) => Math.abs(this.#spans[i].offsetLeft - left);
    return this.#spans.reduce((best, span, i) => (
      Math.abs(span.offsetTop - line) <= 4 && (best < 0 || distance(i) < distance(best)) ? i : best), -1);
  }

  #listen() {
    const { summary } = this.#part;
    const wordAt = (event) => (this.#shown ? Number(event.target.closest("[data-t]")?.dataset.t ?? -1) : -1);
    const on = (name, act) => summary.addEventListener(name, (event) => {
      const t = wordAt(event);
      if (t >= 0) act(t, event);
    });
    on("pointerover", (t) => this.#point(t));
    on("click", (t) => this.#choose(t));
    on("focusin", (t) => { if (!this.#pinned || t !== this.#token) this.#choose(t, false); });
    summary.addEventListener("pointerleave", () => { if (this.#shown) this.#leave(); });
    on("keydown", (t, event) => {
      const moves = {
        ArrowRight: t + 1, ArrowLeft: t - 1, Home: 0, End: this.#spans.length - 1,
        ArrowDown: this.#lineAway(t, 1), ArrowUp: this.#lineAway(t, -1),
      };
      if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.#choose(moves[event.key]);
    });
  }
}

/** The words of a hypothesis as nodes, those in bold that a longest common subsequence with the first has not. */
function marked(words, first) {
  if (!words.length) return ["(nothing)"];
  const same = (i, j) => words[i].trim() === first[j].trim();
  const common = Array.from({ length: words.length + 1 }, () => new Uint16Array(first.length + 1));
  for (let i = words.length - 1; i >= 0; i--) {
    for (let j = first.length - 1; j >= 0; j--) {
      common[i][j] = same(i, j) ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const nodes = [];
  for (let i = 0, j = 0; i < words.length; i++) {
    while (j < first.length && !same(i, j) && common[i][j + 1] >= common[i + 1][j]) j++;
    const shared = j < first.length && same(i, j);
    if (shared) j++;
    const word = document.createElement(shared ? "span" : "b");
    word.textContent = words[i].trim();
    nodes.push(i === 0 ? "" : " ", word);
  }
  return nodes;
}
