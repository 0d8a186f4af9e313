// The page: pictures in, readings out, one of them shown.

import { Editor, drawing } from "./editor.js";
import { copy, csv, pages, save, sdf } from "./files.js";
import { doubts, Replay, words } from "./gaze.js";

const AT_ONCE = 2; // requests
const EXAMPLES = [
  "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
  "CC(=O)OC1=CC=CC=C1C(=O)O",
  "CC(C)CC1=CC=C(C=C1)[C@@H](C)C(=O)O",
  "CN1CCC[C@H]1C2=CN=CC=C2",
];

const $ = (id) => document.getElementById(id);
// {name, source, page, file, state, reading, fault, corrected}; row, its line in the table, which
// is made once; picture, an ImageBitmap that only the current one has, as it may take 100 MB
const items = [];
let current = null;
let under_way = 0;

// ---- the parts -------------------------------------------------------------------------------

const calm = matchMedia("(prefers-reduced-motion: reduce)");

const replay = new Replay($("gaze"), (at, playing) => {
  $("scrub").value = at;
  $("play").textContent = playing ? "\u275a\u275a" : "\u25b6";
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  const step = Math.min(Math.ceil(at), replay.length) - 1;
  const said = describe(step);
  $("step").textContent = said;
  $("scrub").setAttribute("aria-valuetext", said || "the start");
});

const editor = new Editor($("editor"), () => {
  if (!current?.reading) return;
  current.corrected = { ...current.corrected, molfile: editor.molfile(), pending: true };
  showNames(current);
  clearTimeout(editor.waiting);
  const item = current;
  editor.waiting = setTimeout(() => nameAnew(item), 300);
});

function describe(step) {
  const reading = current?.reading;
  if (!reading || step < 0) return "";
  const p = reading.probabilities[step];
  return `${step + 1} of ${reading.tokens.length}: ${words(reading.tokens[step])}`
    + (p === null || p === undefined ? "" : `, ${Math.round(p * 100)} %`);
}

function say(text, fault = false) {
  $("status").textContent = text;
  $("status").classList.toggle("fault", fault);
}

// ---- pictures in -----------------------------------------------------------------------------

async function add(files) {
  const fresh = [];
  for (const file of files) {
    const name = file.name || "pasted picture";
    const tiff = /\.tiff?$/i.test(name) || file.type === "image/tiff";
    const number = tiff ? await pages(file) : 1;
    for (let page = 1; page <= number; page++) {
      fresh.push({ name: number > 1 ? `${name}, page ${page}` : name, source: name, page, file, state: "waiting" });
    }
  }
  if (!fresh.length) {
    say("There is no picture in that.", true);
    return;
  }
  for (const item of fresh) {
    item.row = row(item);
    $("rows").append(item.row);
  }
  items.push(...fresh);
  count();
  select(fresh[0]);
  next();
}

function next() {
  while (under_way < AT_ONCE) {
    const item = items.find((i) => i.state === "waiting");
    if (!item) break;
    item.state = "reading";
    under_way += 1;
    read(item).finally(() => {
      under_way -= 1;
      next();
    });
  }
  const left = items.filter((i) => i.state === "waiting" || i.state === "reading").length;
  if (left) say(left > 1 ? `Reading; ${left} to go` : "Reading");
  else if (items.length > 1) {
    const failed = items.filter((i) => i.fault || i.reading?.error).length;
    say(failed ? `${items.length - failed} read, ${failed} not.` : `All ${items.length} read.`);
  }
  else if (items.length) say("");
}

// POST that waits its turn when the server is busy; throws what is to be told.
async function post(path, body, type) {
  for (let turn = 0; ; turn++) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body, headers: { "Content-Type": type } });
    } catch {
      throw new Error("The server does not answer.");
    }
    if (answer.ok) return answer;
    if (answer.status === 503 && turn < 20) {
      const seconds = Math.min(Number(answer.headers.get("Retry-After")) || 1, 10);
      await new Promise((done) => setTimeout(done, seconds * 1000));
      continue;
    }
    const told = await answer.json().catch(() => ({}));
    throw new Error(typeof told.detail === "string" ? told.detail : `The server says ${answer.status}.`);
  }
}

const typeOf = (file) => (file.type.startsWith("image/") ? file.type : "application/octet-stream");

async function read(item) {
  refresh(item);
  const shown = picture(item);
  try {
    const answer = await post(`read?page=${item.page}`, item.file, typeOf(item.file));
    item.reading = { ...(await answer.json()), source: item.source };
    item.state = "read";
  } catch (err) {
    item.fault = err.message;
    item.state = "failed";
  }
  await shown;
  refresh(item);
  if (item === current) show(item, true);
}

// The picture for the screen, decoded once at a time.
function picture(item) {
  item.loading ??= decoded(item).then((found) => {
    item.loading = null;
    if (found && !item.small) {
      item.small = true;
      thumbnail(item, found);
    }
    if (item !== current) {
      found?.close();
      return;
    }
    const before = item.picture;
    item.picture = found;
    if (found) replay.show(found, item.reading?.tokens.length ? item.reading : null);
    before?.close();
  });
  return item.loading;
}

// An ImageBitmap by the browser, or by the server where the browser cannot; null if neither can.
async function decoded(item) {
  try {
    if (item.page > 1) throw new Error("browsers show the first page only");
    return await createImageBitmap(item.file);
  } catch {
    try {
      item.seen ??= await (await post(`preview?page=${item.page}`, item.file, typeOf(item.file))).blob();
      return await createImageBitmap(item.seen);
    } catch {
      return null; // the reading tells why
    }
  }
}

function release(item) {
  item.picture?.close();
  item.picture = null;
}

// ---- one result ------------------------------------------------------------------------------

function select(item) {
  const before = current;
  current = item;
  $("result").hidden = !item;
  if (item) show(item, false);
  else replay.clear();
  if (before && before !== item) {
    release(before); // only now that it is not drawn any more
    before.row.setAttribute("aria-selected", "false");
  }
  if (!item) return;
  item.row.setAttribute("aria-selected", "true");
  if (!item.picture && item.state !== "waiting") {
    picture(item).then(() => item === current && show(item, false));
  }
}

async function show(item, played) {
  const { reading } = item;
  $("picture-name").textContent = item.name;
  if (item.picture) replay.show(item.picture, reading?.tokens.length ? reading : null);
  else replay.clear();
  $("scrub").max = replay.length;
  $("scrub").value = replay.length;
  for (const id of ["play", "scrub", "speed"]) $(id).disabled = !replay.length;
  $("gaze").setAttribute("aria-label", reading?.smiles ? `Read as ${reading.smiles}` : "Picture");
  showVerdict(item);
  showNames(item);
  showDoubts(item);
  if (played && replay.length && !calm.matches) replay.play();
  const molfile = item.corrected?.molfile ?? reading?.molfile ?? null;
  const spots = reading ? doubts(reading).map((i) => reading.places[i]) : [];
  try {
    $("editor-fault").hidden = true;
    await editor.show(molfile, item.corrected ? [] : spots);
  } catch {
    await editor.show(null);
    $("editor-fault").hidden = false;
    $("editor-fault").textContent = "The editor cannot show this molecule; the molfile has it.";
  }
}

function verdict(item) {
  const { reading, state } = item;
  if (state === "failed") return ["doubt", "Not read", item.fault];
  if (!reading) return ["", "Reading", ""];
  if (item.corrected) return ["sure", "Corrected", "by you"];
  if (reading.error) return ["doubt", "Not read", reading.error];
  if (!reading.smiles) return ["doubt", "No molecule", "was seen in this picture"];
  const share = `${Math.round(reading.confidence * 100)} %`;
  if (reading.finish_reason === "length") return ["doubt", "Cut off", "the molecule is larger than what could be read"];
  if (reading.review) return ["doubt", "Doubtful", share];
  if (reading.confidence >= 0.9) return ["sure", "Sure", share];
  return ["check", "Check this", share];
}

function showVerdict(item) {
  const [kind, word, text] = verdict(item);
  $("verdict-word").className = kind;
  $("verdict-word").textContent = word;
  $("verdict-text").textContent = text;
  $("warnings").replaceChildren(...(item.reading?.warnings ?? []).map((w) => element("li", w)));
  const others = item.reading?.alternatives ?? [];
  $("others").hidden = !others.length;
  $("others").querySelector("ul").replaceChildren(
    ...others.map((o) => element("li", `${o.smiles}  ${Math.round((o.confidence ?? 0) * 100)} %`)),
  );
}

function names(item) {
  const read = item.reading ?? {};
  const now = item.corrected ?? read;
  return { smiles: now.cxsmiles ?? now.smiles ?? "", inchikey: now.inchikey ?? "", molfile: now.molfile ?? "" };
}

function showNames(item) {
  if (item !== current) return;
  const { smiles, inchikey, molfile } = names(item);
  const pending = item.corrected?.pending;
  $("smiles").value = pending ? "" : smiles;
  $("smiles").placeholder = pending ? "naming it" : (item.corrected?.fault ?? "");
  $("inchikey").value = pending ? "" : inchikey;
  $("corrected").hidden = $("revert").hidden = !item.corrected;
  $("as-read-name").hidden = $("as-read-row").hidden = !(item.corrected && item.reading?.smiles);
  $("as-read").value = item.reading?.smiles ?? "";
  for (const id of ["save-mol", "save-sdf"]) $(id).disabled = !molfile;
  $("save-json").disabled = !item.reading;
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.disabled = !names(item)[button.dataset.copy];
  }
}

function showDoubts(item) {
  const steps = item.reading ? doubts(item.reading) : [];
  $("doubts").hidden = !steps.length;
  $("doubts").querySelectorAll("button").forEach((b) => b.remove());
  for (const step of steps.slice(0, 30)) {
    const share = Math.round(item.reading.probabilities[step] * 100);
    const button = element("button", `${words(item.reading.tokens[step])} ${share} %`);
    button.addEventListener("click", () => replay.seek(step + 1));
    $("doubts").append(button);
  }
}

async function nameAnew(item) {
  const { molfile } = item.corrected ?? {};
  if (!molfile) return;
  let found;
  try {
    found = await (await post("names", molfile, "chemical/x-mdl-molfile")).json();
  } catch (err) {
    found = { smiles: null, cxsmiles: null, inchikey: null, fault: err.message };
  }
  if (item.corrected?.molfile !== molfile) return; // edited again meanwhile
  item.corrected = { ...found, molfile };
  if (item === current) {
    if (found.fault) say(found.fault, true);
    else say("");
    showVerdict(item);
  }
  showNames(item);
  refresh(item);
}

// ---- all results -----------------------------------------------------------------------------

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind;
  return made;
}

function count() {
  $("list").hidden = items.length < 2;
  document.body.classList.toggle("some", items.length > 0);
  $("list-count").textContent = `${items.length} pictures`;
}

// The line of a picture in the table; refresh fills it in.
function row(item) {
  const made = element("tr");
  made.setAttribute("aria-selected", "false");
  const open = element("button", "", "open");
  const small = element("canvas");
  [small.width, small.height] = [64, 40];
  open.append(small, element("span", item.name));
  open.addEventListener("click", () => select(item));
  const remove = element("button", "\u00d7", "plain");
  remove.setAttribute("aria-label", `Remove ${item.name}`);
  remove.addEventListener("click", () => drop(item));
  const cells = [element("td"), element("td"), element("td"), element("td")];
  cells[0].append(open);
  cells[3].append(remove);
  made.append(...cells);
  return made;
}

function refresh(item) {
  const [, smiles, told] = item.row.cells;
  const [kind, word, text] = verdict(item);
  smiles.textContent = smiles.title = names(item).smiles;
  told.replaceChildren(element("strong", word, kind), ` ${item.state === "failed" ? "" : text}`);
  told.title = text;
}

function thumbnail(item, bitmap) {
  const { width, height } = bitmap;
  const scale = Math.min(64 / width, 40 / height);
  const pen = item.row.querySelector("canvas").getContext("2d");
  pen.drawImage(bitmap, (64 - width * scale) / 2, (40 - height * scale) / 2, width * scale, height * scale);
}

function drop(item) {
  const at = items.indexOf(item);
  items.splice(at, 1);
  item.row.remove();
  if (item === current) select(items[Math.min(at, items.length - 1)] ?? null);
  count();
}

// The columns of tables and SDF files, which are those of the command line, and two more.
const COLUMNS = [
  "source", "page", "id", "smiles", "cxsmiles", "inchikey", "confidence", "review", "valid",
  "finish_reason", "warnings", "alternatives", "scale", "model", "ms", "error", "error_type",
  "x0", "y0", "x1", "y1", "found", "number",
];
const DIGITS = { confidence: 4, scale: 2, ms: 1, found: 4, x0: 2, y0: 2, x1: 2, y1: 2 };

function record(item) {
  const { reading, corrected } = item;
  const now = { ...reading, ...corrected };
  const [x0, y0, x1, y1] = reading?.box ?? [];
  const all = {
    ...now, x0, y0, x1, y1,
    source: item.source,
    page: item.page,
    error: item.fault ?? now.error,
    valid: Boolean(now.smiles) && !now.error && now.finish_reason === "end",
    warnings: (now.warnings ?? []).join("; "),
    alternatives: (now.alternatives ?? []).map((o) => `${o.smiles} ${o.confidence}`).join("; "),
  };
  const cell = (name, value) => {
    if (typeof value === "boolean") return value ? "True" : "False"; // as Python writes them
    if (typeof value === "number" && name in DIGITS) return Number(value.toFixed(DIGITS[name]));
    return value ?? null;
  };
  return {
    title: item.page > 1 ? `${item.source}, page ${item.page}` : item.source,
    molfile: now.molfile ?? null,
    ...Object.fromEntries(COLUMNS.map((name) => [name, cell(name, all[name])])),
    corrected: corrected ? "yes" : null,
    read_as: corrected ? (reading?.smiles ?? null) : null,
  };
}

function stem(item) {
  return item.name.replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_") || "molecule";
}

// ---- what is pressed -------------------------------------------------------------------------

const actions = {
  "pick": () => $("files").click(),
  "photo": () => $("camera").click(),
  "example": async () => {
    const smiles = EXAMPLES[items.length % EXAMPLES.length];
    add([new File([await drawing(smiles)], "example.png", { type: "image/png" })]);
  },
  "play": () => (replay.playing ? replay.pause() : replay.play()),
  "help-open": () => $("help").showModal(),
  "clear": () => {
    for (const item of items.splice(0)) item.row.remove();
    select(null);
    count();
    say("");
  },
  "revert": () => {
    current.corrected = null;
    show(current, false);
    refresh(current);
  },
  "save-mol": () => save(`${stem(current)}.mol`, names(current).molfile, "chemical/x-mdl-molfile"),
  "save-sdf": () => save(`${stem(current)}.sdf`, sdf([record(current)]), "chemical/x-mdl-sdfile"),
  "save-json": () => {
    const { reading, corrected } = current;
    save(`${stem(current)}.json`, JSON.stringify(corrected ? { ...reading, corrected } : reading, null, 2), "application/json");
  },
  "all-sdf": () => save("molgaze.sdf", sdf(items.map(record)), "chemical/x-mdl-sdfile"),
  "all-csv": () => save("molgaze.csv", csv(items.map(record)), "text/csv"),
};
for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await copy(names(current)[button.dataset.copy]);
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  });
}

for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", () => {
    add([...$(id).files]);
    $(id).value = "";
  });
}

$("scrub").addEventListener("input", () => replay.seek(Number($("scrub").value)));
$("speed").addEventListener("change", () => { replay.speed = Number($("speed").value); });
$("gaze").addEventListener("click", (event) => {
  const step = replay.nearest(event.clientX, event.clientY);
  if (step === null) actions.play();
  else replay.seek(step + 1);
});

$("smiles").addEventListener("keydown", async (event) => {
  if (event.key !== "Enter" || !current?.reading) return;
  try {
    await editor.showSmiles($("smiles").value.trim());
  } catch {
    say("The editor cannot draw that SMILES.", true);
  }
});

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])].filter((f) => f.type.startsWith("image/") || /\.tiff?$/i.test(f.name));
  if (files.length) {
    event.preventDefault();
    add(files);
  }
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  add([...event.dataTransfer.files]);
});

document.addEventListener("keydown", (event) => {
  const busy = event.target.closest?.("input, select, textarea, dialog, #editor");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    event.target.blur?.();
    return;
  }
  const onButton = event.target.closest?.("button, summary, a");
  if (busy && event.target.id !== "scrub") return;
  const step = Math.round(replay.at);
  const keys = {
    " ": onButton ? null : actions.play,
    "ArrowLeft": () => replay.seek(Math.max(0, Math.ceil(replay.at) - 1)),
    "ArrowRight": () => replay.seek(Math.floor(replay.at) + 1),
    "Home": () => replay.seek(0),
    "End": () => replay.seek(replay.length),
    "o": actions.pick,
    "n": () => items.length && select(items[(items.indexOf(current) + 1) % items.length]),
    "p": () => items.length && select(items[(items.indexOf(current) + items.length - 1) % items.length]),
    "c": () => document.querySelector("[data-copy=smiles]").click(),
    "s": () => !$("save-mol").disabled && actions["save-mol"](),
    "e": () => $("smiles").focus(),
    "?": actions["help-open"],
  };
  const act = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!act || (!current && !"o?".includes(event.key))) return;
  event.preventDefault();
  act(step);
});
