"use strict";

// ---- How to read and decode. Empty means as in the run ---------------------------------------------------------

/* The server tells which settings there are (form.py): {name, label, choices: [[value, words], ...] or null for a
   number, step, min, max, methods: those it is for, unless: [setting, value] with which it changes nothing or null,
   pointer: whether it needs one, advanced: whether it is folded away}. */

const USUAL_SUMMARIES = 4;

class Settings {
  #about;
  #runs;
  #form;
  #chosen;
  #fields; // by name

  /** `form` holds the places for inputs; `chosen` gets a line that tells of them. */
  constructor(about, form, chosen) {
    this.#about = about;
    this.#runs = about.runs;
    this.#form = form;
    this.#chosen = chosen;
    const [simple, advanced] = ["#simple", "#advanced"].map((id) => form.querySelector(id));
    const fields = about.settings.filter((field) => this.#own(field.name).length
      && (!field.pointer || this.#runs.some((run) => run.pointer)));
    this.#fields = new Map(fields.map((field) => [field.name, field]));
    const [method, ...others] = fields;
    simple.append(
      this.#field(method),
      this.#number("summaries", "Summaries shown", { min: 1, max: about.limits.summaries, step: 1 }, USUAL_SUMMARIES),
      this.#longTexts(),
      this.#text("prefix", "Begin each summary with", "nothing"),
    );
    for (const field of others) (field.advanced ? advanced : simple).append(this.#field(field));
    for (const kind of ["input", "change"]) form.addEventListener(kind, () => this.#tell());
    this.#tell();
  }

  /** For a request: what was filled in and applies. Throws an Error that says what is wrong with it. */
  values() {
    const decoding = {}, request = { summaries: USUAL_SUMMARIES, decoding };
    for (const input of this.#inputs) {
      if (input.validity && !input.validity.valid) {
        for (let fold = input.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
        input.focus();
        throw new Error(`${labelOf(input)}: ${input.validationMessage}`);
      }
      if (input.value === "") continue;
      (this.#fields.has(input.name) ? decoding : request)[input.name] = valueOf(input);
    }
    return request;
  }

  /** Choose what becomes of a long text. */
  readLong(way) {
    const select = this.#form.querySelector('[name="long_document"]');
    select.value = way;
    if (select.selectedIndex < 0) select.value = ""; // it is what the page was opened with
    this.#tell();
  }

  /** The inputs that are shown, or would be if unfolded. */
  get #inputs() {
    return [...this.#form.querySelectorAll("input, select")].filter((input) => !input.closest("label").hidden);
  }

  /** What the runs have themselves, each value once. */
  #own(name) {
    return [...new Set(this.#runs.map((run) => run.decoding[name]).filter((value) => value !== undefined))];
  }

  /** What a setting is with what was filled in: of each run, unless the same for all. */
  #current(name) {
    const input = this.#form.querySelector(`[name="${name}"]`);
    return input && input.value !== "" ? [valueOf(input)] : this.#own(name);
  }

  #applies({ methods, unless }) {
    if (!this.#current("method").some((method) => methods.includes(method))) return false;
    if (!unless) return true;
    const [name, useless] = unless;
    return !this.#fields.has(name) || this.#current(name).some((value) => value !== useless);
  }

  #tell() {
    for (const field of this.#fields.values()) {
      this.#form.querySelector(`[name="${field.name}"]`).closest("label").hidden = !this.#applies(field);
    }
    const changes = this.#inputs.filter((input) => input.value !== "" && input.name !== "method")
      .map((input) => `${labelOf(input).toLowerCase()}${input.matches("select") ? ":" : ""} ${wordsOf(input)}`);
    const words = new Map(this.#fields.get("method").choices);
    this.#chosen.textContent = [this.#current("method").map((method) => words.get(method)).join(" / "), ...changes].join(", ");
  }

  #field(field) {
    const { name, label, choices, min, max, step } = field, own = this.#own(name);
    if (choices) return this.#choice(name, label, choices, own);
    return this.#number(name, label, { min: min ?? "", max: max ?? "", step }, own.join(" / "));
  }

  #number(name, label, attributes, own) {
    const input = document.createElement("input");
    Object.assign(input, { type: "number", name, placeholder: own, ...attributes });
    if (Number.isInteger(attributes.step)) input.inputMode = "numeric";
    return this.#labelled(label, input);
  }

  #text(name, label, own) {
    const input = document.createElement("input");
    Object.assign(input, { type: "text", name, placeholder: own, maxLength: 1000, autocomplete: "off", spellcheck: false });
    return this.#labelled(label, input);
  }

  #choice(name, label, choices, own) {
    const select = document.createElement("select"), words = new Map(choices);
    select.name = name;
    const now = [...new Set(own)].map((value) => words.get(value)).join(" / ");
    select.append(new Option(`as in the run: ${now}`, ""), ...choices.map(([value, text]) => new Option(text, value)));
    return this.#labelled(label, select);
  }

  /** Not a setting of the run: what the page was opened with is chosen, and not sent. */
  #longTexts() {
    const select = document.createElement("select"), own = this.#runs[0].long_document;
    select.name = "long_document";
    select.append(...this.#about.long_documents.map(([value, text]) => new Option(text, value === own ? "" : value)));
    select.value = "";
    return this.#labelled("Long texts", select);
  }

  #labelled(text, input) {
    const label = document.createElement("label");
    label.append(text, input);
    return label;
  }
}

const labelOf = (input) => input.labels[0].firstChild.textContent.trim();
const wordsOf = (input) => (input.matches("select") ? input.selectedOptions[0].text : input.value);

/** As JSON has it: a number, true or false, or a text. */
function valueOf(input) {
  if (input.type === "number") return Number(input.value);
  return { true: true, false: false }[input.value] ?? input.value;
}
