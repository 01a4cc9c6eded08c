"use strict";

// ---- How to decode. Empty means as in the run -----------------------------------------------------------------

// name, label, attributes of the input, the method it is for (both if none)
const SETTINGS = [
  ["beam_size", "Hypotheses followed", { min: 1, max: 16, step: 1 }, "beam"],
  ["length_penalty", "Length penalty", { min: 0, step: "any" }, "beam"],
  ["coverage_penalty", "Coverage penalty", { min: 0, step: "any" }, "beam"],
  ["temperature", "Temperature", { min: 0.01, step: "any" }, "sample"],
  ["top_k", "Top k", { min: 0, step: 1 }, "sample"],
  ["top_p", "Top p", { min: 0.01, max: 1, step: "any" }, "sample"],
  ["seed", "Seed", { step: 1 }, "sample"],
  ["min_tokens", "At least so many tokens", { min: 0, step: 1 }],
  ["max_tokens", "At most so many tokens", { min: 1, max: 512, step: 1 }],
  ["no_repeat_ngram_size", "No n-gram twice, n =", { min: 0, step: 1 }],
];
const METHODS = { beam: "beam search", sample: "sampling" };
const USUAL_SUMMARIES = 4;

class Settings {
  #runs;
  #place;
  #chosen;

  /** `place` gets the inputs, `chosen` a line that tells of them. */
  constructor(about, place, chosen) {
    this.#runs = about.runs;
    this.#place = place;
    this.#chosen = chosen;
    place.append(
      this.#choice("method", "Method", about.methods),
      this.#number("summaries", "Summaries shown", { min: 1, max: about.limits.summaries, step: 1 }, USUAL_SUMMARIES),
    );
    for (const [name, label, attributes] of SETTINGS) {
      const own = this.#own(name);
      if (own.length && (name !== "coverage_penalty" || this.#runs.some((run) => run.pointer))) {
        place.append(this.#number(name, label, attributes, own.join(" / ")));
      }
    }
    place.addEventListener("input", () => this.#tell());
    this.#tell();
  }

  /** For a request: what was filled in and applies. Throws an Error that says what is wrong with it. */
  values() {
    const decoding = {};
    let summaries = USUAL_SUMMARIES;
    for (const input of this.#place.querySelectorAll("input, select")) {
      if (input.validity && !input.validity.valid) {
        throw new Error(`${input.labels[0].firstChild.textContent.trim()}: ${input.validationMessage}`);
      }
      if (input.value === "" || input.closest("label").hidden) continue;
      if (input.name === "summaries") summaries = Number(input.value);
      else decoding[input.name] = input.type === "number" ? Number(input.value) : input.value;
    }
    return { summaries, decoding };
  }

  get #method() {
    return this.#place.querySelector("select").value || this.#runs[0].decoding.method;
  }

  /** What the runs have themselves, each value once. */
  #own(name) {
    return [...new Set(this.#runs.map((run) => run.decoding[name]).filter((value) => value !== undefined))];
  }

  #tell() {
    for (const [name, , , method] of SETTINGS) {
      const input = this.#place.querySelector(`[name="${name}"]`);
      if (input) input.closest("label").hidden = method !== undefined && method !== this.#method;
    }
    const changes = [...this.#place.querySelectorAll("input, select")]
      .filter((input) => input.value !== "" && input.name !== "method" && !input.closest("label").hidden)
      .map((input) => `${input.labels[0].firstChild.textContent.trim().toLowerCase()} ${input.value}`);
    this.#chosen.textContent = [METHODS[this.#method] ?? this.#method, ...changes].join(", ");
  }

  #number(name, label, attributes, own) {
    const input = document.createElement("input");
    Object.assign(input, { type: "number", name, placeholder: own, ...attributes });
    if (Number.isInteger(attributes.step)) input.inputMode = "numeric";
    return this.#labelled(label, input);
  }

  #choice(name, label, options) {
    const select = document.createElement("select");
    select.name = name;
    const own = this.#own(name).map((method) => METHODS[method] ?? method).join(" / ");
    select.append(new Option(`as in the run: ${own}`, ""), ...options.map((each) => new Option(METHODS[each] ?? each, each)));
    return this.#labelled(label, select);
  }

  #labelled(text, input) {
    const label = document.createElement("label");
    label.append(text, input);
    return label;
  }
}
