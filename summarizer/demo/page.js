"use strict";

// ---- The form: a text, from wherever; and the requests it makes -------------------------------------------------

const element = (id) => document.getElementById(id);
const [form, text, problem] = ["form", "text", "problem"].map(element);
let about, settings, reader, results = [];
let running = null; // what stops the requests under way
let summarized = ""; // the text of the results

function complain(message) {
  problem.textContent = message;
  problem.hidden = !message;
}

async function start() {
  about = await (await fetch("/api/about")).json();
  reader = new Reader(element("reader"), element("unread"), element("ramp"));
  settings = new Settings(about, element("settings"), element("chosen"));
  results = about.runs.map((run) => new Result(run, reader, () => element("view").value));
  element("results").replaceChildren(...results.map((result) => result.element));
  element("main").classList.toggle("comparing", results.length > 1);
  element("runs").textContent = about.runs.map((run) => `${run.name}: ${(run.parameters / 1e6).toFixed(1)} M parameters, `
    + `update ${count(run.step)}, reads ${count(run.reads)} tokens${run.pointer ? ", has a pointer" : ""}`).join("\n");
  if (!about.runs.some((run) => run.pointer)) element("view").closest("label").hidden = true;
  if (!text.value) text.value = about.text;
  tellLength();
  text.focus();
  text.setSelectionRange(0, 0);
}

// ---- The text ---------------------------------------------------------------------------------------------------

function tellLength() {
  const length = text.value.length, most = about.limits.characters;
  element("count").textContent = length > most ? `${count(length)} characters, ${count(length - most)} too many`
    : length ? `${count(length)} characters` : "";
  for (const result of results) if (result.done) result.stale(text.value !== summarized);
}

/** Either the text to edit or what was read of it. */
function showReading(reading) {
  text.hidden = reading;
  for (const id of ["reader", "unread", "views"]) element(id).hidden = !reading;
  element("all").hidden = !reading || !results.some((result) => result.cut);
  element("edit").hidden = !reading;
  element("read").hidden = reading || !results.some((result) => result.done);
}

async function takeFile(file) {
  complain("");
  if (file.size > 6 * about.limits.characters) {
    return complain(`${file.name} is too large: a text may have ${count(about.limits.characters)} characters`);
  }
  let content;
  try {
    content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return complain(`${file.name} is not UTF-8 text: save it as plain text first`);
  }
  if (content.includes("\0")) return complain(`${file.name} is a binary file: save it as plain text first`);
  text.value = content;
  showReading(false);
  return tellLength();
}

// ---- The requests -----------------------------------------------------------------------------------------------

async function summarize() {
  running?.abort();
  complain("");
  let chosen;
  try {
    if (!text.value.trim()) throw new Error("There is no text to summarize: paste or type one.");
    if ([...text.value].length > about.limits.characters) {
      throw new Error(`The text is too long: ${count(about.limits.characters)} characters are the most.`);
    }
    chosen = settings.values();
  } catch (error) {
    return complain(error.message);
  }
  const mine = running = new AbortController();
  summarized = text.value;
  element("stop").hidden = false;
  for (const result of results) result.begin();
  results[0].element.scrollIntoView({ block: "nearest" }); // on a phone it is below
  await Promise.all(results.map((result, run) => ask(result, { run, text: summarized, ...chosen }, mine.signal)));
  if (running !== mine) return undefined; // a later request has taken over
  running = null;
  element("stop").hidden = true;
  return showReading(results.some((result) => result.done));
}

async function ask(result, request, signal) {
  try {
    const answer = await fetch("/api/summaries", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request), signal,
    });
    if (!answer.ok) return result.fail((await answer.json()).error);
    let last = null;
    for await (const line of lines(answer.body)) result.take(last = JSON.parse(line));
    if (!["done", "failed"].includes(last?.event)) result.fail("the answer ended early: is the program still running?");
  } catch {
    result.fail(signal.aborted ? "stopped" : "no answer: is the program behind this page still running?");
  }
  return undefined;
}

async function* lines(stream) {
  const decoder = new TextDecoder(), reading = stream.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reading.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

// ---- What people do ---------------------------------------------------------------------------------------------

form.addEventListener("submit", (event) => { event.preventDefault(); summarize(); });
element("stop").addEventListener("click", () => running?.abort());
element("edit").addEventListener("click", () => { showReading(false); text.focus(); });
element("read").addEventListener("click", () => showReading(true));
element("all").addEventListener("click", () => { settings.readLong("split"); summarize(); });
element("open").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) takeFile(target.files[0]);
  target.value = ""; // the same file again is a choice too
});
element("view").addEventListener("change", () => { for (const result of results) result.refresh(); });
text.addEventListener("input", tellLength);
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) summarize();
  if (event.key === "Escape") running?.abort();
});
element("results").addEventListener("pointed", ({ detail }) => {
  for (const result of results) if (result !== detail) result.release();
});
addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  form.classList.add("dropping");
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) form.classList.remove("dropping"); });
addEventListener("drop", (event) => {
  form.classList.remove("dropping");
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  takeFile(event.dataTransfer.files[0]);
});
start().catch(() => complain("No answer: is the program behind this page still running?"));
