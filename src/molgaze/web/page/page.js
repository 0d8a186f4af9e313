// The page: pictures and documents in, molecules out, one of them shown.

import { Editor } from "./editor.js";
import { Replay, SPOT, words } from "./gaze.js";
import { dark, fit, inked, pen, ring, svgUrl, thumbnail, union, widened } from "./pane.js";

const AT_ONCE = 2; // requests
const SHOWN = /^image\/(png|jpeg|gif|webp|bmp)$/; // by every browser; others the server draws

const $ = (id) => document.getElementById(id);

// A sheet is a page of a file: {file, source, page, pages, state, fault, items, picture, size, unit},
// where picture is what is decoded to be shown, size is [height, width] in the unit of the readings,
// and unit is pixels of the picture for one of these. An item is a molecule on it, or the one that
// stands for a sheet without any: {sheet, reading, drawing, corrected}. Both have their elements.
const sheets = [];
let current = null; // an item
let page = null; // the sheet that is shown as a whole, if one is
let under_way = 0;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
dark.addEventListener("change", () => {
  for (const item of all()) refresh(item);
  show();
});
const all = () => sheets.flatMap((sheet) => sheet.items);
const isPage = (sheet) => sheet.items.some((item) => item.reading?.box) || /pdf/.test(sheet.file.type);

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind;
  return made;
}

function say(text, fault = false) {
  $("status").textContent = text;
  $("status").classList.toggle("fault", fault);
}

// ---- in --------------------------------------------------------------------------------------

function add(files) {
  const fresh = [...files].map((file) => sheetOf(file, 1, 1));
  if (!fresh.length) {
    say("There is no file in that.", true);
    return;
  }
  sheets.push(...fresh);
  for (const sheet of fresh) $("rows").append(sheet.element);
  open(fresh[0].items[0]);
  count();
  next();
}

function sheetOf(file, number, pages) {
  const sheet = { file, source: file.name || "pasted picture", page: number, pages, state: "waiting" };
  if (SHOWN.test(file.type)) sheet.picture = file;
  sheet.element = element("div", "", "sheet");
  settle(sheet, [{ sheet }]);
  return sheet;
}

function next() {
  while (under_way < AT_ONCE) {
    const sheet = sheets.find((s) => s.state === "waiting");
    if (!sheet) break;
    sheet.state = "reading";
    under_way += 1;
    read(sheet).finally(() => {
      under_way -= 1;
      next();
    });
  }
  const left = sheets.filter((s) => s.state === "waiting" || s.state === "reading").length;
  if (left) say(left > 1 ? `Reading, ${left} to go` : "Reading");
  else if (sheets.length > 1) {
    const failed = sheets.filter((s) => s.state === "failed").length;
    say(failed ? `${sheets.length - failed} read, ${failed} not` : `All ${sheets.length} read`);
  } else say("");
}

// POST that waits its turn when the server is busy; throws what is to be told.
async function post(path, body, headers) {
  for (let turn = 0; ; turn++) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body, headers });
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 503 && turn < 20) {
      const seconds = Math.min(Number(answer.headers.get("Retry-After")) || 1, 10);
      await new Promise((done) => setTimeout(done, seconds * 1000));
      continue;
    }
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.detail ?? `The server says ${answer.status}.`);
  }
}

async function read(sheet) {
  const { file, source } = sheet;
  try {
    const answer = await post(`find?page=${sheet.page}&drawings=true&picture=${!sheet.picture}`, file, {
      "Content-Type": /^image\/|pdf$/.test(file.type) ? file.type : "application/octet-stream",
      "Content-Disposition": `attachment; filename*=UTF-8''${encodeURIComponent(source)}`,
    });
    const found = await answer.json();
    sheet.state = "read";
    sheet.size = found.size;
    if (found.picture) sheet.picture = blobOf(found.picture);
    const items = found.readings.map((reading, i) => ({ sheet, reading, drawing: found.drawings[i] }));
    if (sheet.page === 1 && found.pages > 1 && sheets.includes(sheet)) {
      sheet.pages = found.pages;
      const more = Array.from({ length: found.pages - 1 }, (_, i) => sheetOf(file, i + 2, found.pages));
      sheets.splice(sheets.indexOf(sheet) + 1, 0, ...more);
      sheet.element.after(...more.map((s) => s.element));
    }
    settle(sheet, items.length ? items : [{ sheet }]);
  } catch (err) {
    sheet.state = "failed";
    sheet.fault = err.message;
    settle(sheet, [{ sheet }]);
  }
  await thumbnails(sheet);
  count();
}

// What a data URL holds.
function blobOf(url) {
  const [kind, text] = url.slice(5).split(";base64,");
  return new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type: kind });
}

// The bitmap of a sheet, decoded once as long as it is shown; null if it cannot be.
function bitmap(sheet) {
  if (!sheet.picture) return Promise.resolve(null);
  sheet.bitmap ??= createImageBitmap(sheet.picture).catch(() => null).then((found) => {
    if (found) sheet.unit = sheet.size ? found.width / sheet.size[1] : 1;
    return found;
  });
  return sheet.bitmap;
}

function release(sheet) {
  if (!sheet.bitmap || sheet === held) return;
  sheet.bitmap.then((found) => found?.close());
  sheet.bitmap = null;
}

let held = null; // the sheet whose bitmap is kept, as it may take 100 MB

function hold(sheet) {
  if (held === sheet) return;
  replay.clear(); // which draws the one before
  const before = held;
  held = sheet;
  if (before) release(before);
}

// ---- the list --------------------------------------------------------------------------------

// Gives a sheet its items, and their lines in the list.
function settle(sheet, items) {
  const wasCurrent = current && current.sheet === sheet;
  sheet.items = items;
  const lines = items.map((item) => line(item));
  sheet.element.replaceChildren(...lines);
  const isWhole = isPage(sheet);
  if (isWhole || sheet.pages > 1) sheet.element.prepend(head(sheet));
  if (isWhole && !items[0].reading && sheet.state === "read") lines[0].hidden = true; // a page without molecules
  if (wasCurrent) open(items[0], isWhole);
}

function head(sheet) {
  const made = element("div", "", "head");
  const number = sheet.items.filter((item) => item.reading).length;
  const told = sheet.state !== "read" ? "" : number ? ` (${number})` : ": nothing found";
  const where = /pdf/.test(sheet.file.type) || sheet.pages > 1 ? `${sheet.source}, page ${sheet.page}` : sheet.source;
  const button = element("button", `${where}${told}`, "open");
  button.addEventListener("click", () => open(sheet.items[0], true));
  made.append(button, remover(sheet));
  return made;
}

function remover(sheet) {
  const made = element("button", "\u00d7", "remove");
  made.setAttribute("aria-label", `Remove ${sheet.source}`);
  made.addEventListener("click", () => drop(sheet));
  return made;
}

function line(item) {
  const { sheet } = item;
  const made = element("div", "", "item");
  const button = element("button", "", "open");
  const small = element("canvas");
  const molecule = element("img");
  const text = element("span", "", "text");
  [small.width, small.height, molecule.alt] = [252, 180, ""];
  text.append(element("span", title(item), "title"), element("code"), element("span", "", "told"));
  button.append(small, molecule, text);
  button.addEventListener("click", () => open(item));
  made.append(button);
  if (!isPage(sheet) && sheet.pages === 1) made.append(remover(sheet));
  item.element = made;
  refresh(item);
  return made;
}

function title(item) {
  const { sheet, reading } = item;
  if (!reading?.box) return name(item);
  const called = reading.number ?? `Molecule ${sheet.items.indexOf(item) + 1}`;
  return reading.role ? `${called}, ${reading.role}` : called;
}

function name(item) {
  const { source, page: number, pages } = item.sheet;
  const where = pages > 1 || number > 1 ? `${source}, page ${number}` : source;
  return item.reading?.number ? `${where}: ${item.reading.number}` : where;
}

function refresh(item) {
  const [kind, told, share] = verdict(item);
  const text = item.element.querySelector(".text");
  text.querySelector("code").textContent = names(item).smiles;
  const last = text.querySelector(".told");
  last.textContent = share ? `${told}, ${share}` : told;
  last.className = `told ${kind}`;
  const svg = (item.corrected ?? item).drawing?.svg;
  const molecule = item.element.querySelector("img");
  molecule.hidden = !svg;
  if (svg) molecule.src = svgUrl(svg);
}

async function thumbnails(sheet) {
  const found = await bitmap(sheet);
  if (found) {
    for (const item of sheet.items) {
      const frame = item.reading?.box ?? inked(found).map((v) => v / sheet.unit);
      thumbnail(item.element.querySelector("canvas"), found, frame, sheet.unit);
    }
  }
  release(sheet);
}

function count() {
  const items = all();
  const number = items.filter((item) => item.reading?.smiles).length;
  const isMany = sheets.length > 1 || items.length > 1;
  $("intake").hidden = sheets.length > 0;
  $("list").hidden = !isMany;
  $("list").parentElement.classList.toggle("many", isMany);
  $("count").textContent = `${number} molecule${number === 1 ? "" : "s"}`;
  for (const button of document.querySelectorAll("[data-all]")) button.disabled = !number;
}

function drop(sheet) {
  const items = all();
  const at = items.indexOf(sheet.items[0]);
  sheets.splice(sheets.indexOf(sheet), 1);
  sheet.element.remove();
  if (current?.sheet === sheet) open(all()[Math.min(at, all().length - 1)] ?? null);
  count();
}

// ---- one molecule, or one page ---------------------------------------------------------------

function open(item, asPage = false) {
  stopEditing();
  mark(false);
  current = item;
  page = asPage && item ? item.sheet : null;
  mark(true);
  show();
}

function mark(isCurrent) {
  const whole = page?.element.querySelector(".head .open");
  const shown = whole ?? current?.element;
  shown?.setAttribute("aria-current", isCurrent);
  if (isCurrent && shown) into(shown, $("rows"));
}

// Scrolls a list to one of its lines, and nothing else.
function into(line, list) {
  const [shown, area] = [line.getBoundingClientRect(), list.getBoundingClientRect()];
  for (const [side, start, end] of [["scrollTop", "top", "bottom"], ["scrollLeft", "left", "right"]]) {
    list[side] += Math.min(0, shown[start] - area[start]) + Math.max(0, shown[end] - area[end]);
  }
}

async function show() {
  $("result").hidden = !current || Boolean(page);
  $("sheet").hidden = !page;
  const item = current;
  if (!item || page) replay.clear();
  hold(item?.sheet ?? null);
  if (!item) return;
  if (page) {
    $("sheet-name").textContent = name({ sheet: page });
    await drawPage();
    return;
  }
  showFacts(item);
  const found = await bitmap(item.sheet);
  if (item !== current || page) return;
  showPanes(item, found);
}

const replay = new Replay($("gaze"), (at, playing) => {
  $("scrub").value = at;
  $("play").textContent = playing ? "\u275a\u275a" : "\u25b6";
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play the gaze");
  $("step").textContent = at < replay.length ? describe(Math.ceil(at) - 1) : "";
  $("scrub").setAttribute("aria-valuetext", $("step").textContent || "the whole");
});

function describe(step) {
  const { tokens, probabilities } = current.reading;
  if (step < 0) return "";
  const p = probabilities[step];
  return words(tokens[step]) + (p === null || p === undefined ? "" : `, ${percent(p)}`);
}

const percent = (share) => `${Math.min(Math.round(share * 100), 99)} %`;

let frame = null; // what both panes show

function showPanes(item, found) {
  const { reading, sheet } = item;
  const drawing = (item.corrected ?? item).drawing;
  const box = reading?.box ?? null;
  const around = box ? widened(box, (box[2] - box[0]) * 0.06) : found && inked(found).map((v) => v / sheet.unit);
  frame = union(around, drawing?.frame);
  if (found && frame) {
    const walked = reading?.tokens.length ? reading : null;
    const doubtful = item.corrected ? [] : (item.drawing?.doubtful ?? []);
    replay.show({ bitmap: found, unit: sheet.unit, frame, box, reading: walked, doubtful });
  } else replay.clear();
  $("scrub").max = replay.length;
  $("scrub").value = replay.length;
  for (const id of ["play", "scrub"]) $(id).disabled = !replay.length;
  placeMolecule();
  if (reading && !item.played) {
    item.played = true;
    if (all().length === 1 && replay.length && !calm.matches) replay.play();
  }
}

// The drawing lies in its pane as the picture does in the other.
function placeMolecule() {
  const drawing = current && (current.corrected ?? current).drawing;
  $("molecule").hidden = !drawing || document.body.classList.contains("editing");
  const made = pen($("marks"));
  if (!drawing || !frame) return;
  const { scale, left, top } = fit(frame, $("marks").clientWidth, $("marks").clientHeight);
  const [x0, y0, x1, y1] = drawing.frame;
  const style = { left: x0 * scale + left, top: y0 * scale + top, width: (x1 - x0) * scale, height: (y1 - y0) * scale };
  for (const [key, value] of Object.entries(style)) $("molecule").style[key] = `${value}px`;
  const url = svgUrl(drawing.svg);
  if ($("molecule").src !== url) $("molecule").src = url;
  $("molecule").alt = names(current).smiles;
  if (replay.spot) {
    const [x, y] = replay.spot;
    const bond = Math.min(Math.max((current.reading?.scale ?? 30) * scale, 16), 80);
    ring(made, [x * scale + left, y * scale + top], bond * 0.55, SPOT, 2.5);
  }
}
new ResizeObserver(() => placeMolecule()).observe($("marks"));

// The place that is pointed at in one pane is shown in both.
function point(spot) {
  replay.spot = spot;
  replay.draw();
  placeMolecule();
}

function placeOf(event) {
  if (!frame) return null;
  const area = event.target.getBoundingClientRect();
  const { scale, left, top } = fit(frame, area.width, area.height);
  return [(event.clientX - area.left - left) / scale, (event.clientY - area.top - top) / scale];
}

for (const id of ["gaze", "marks"]) {
  $(id).addEventListener("pointermove", (event) => point(placeOf(event)));
  $(id).addEventListener("pointerleave", () => point(null));
}

// A word for the confidence, which says the same as the number.
function verdict(item) {
  const { reading, sheet } = item;
  if (sheet.state === "failed") return ["doubt", "Not read", ""];
  if (sheet.state !== "read") return ["", "Reading", ""];
  if (item.corrected) return ["sure", isAsRead(item) ? "Checked by you" : "Corrected by you", ""];
  if (!reading?.smiles && reading?.error) return ["doubt", "Not read", ""];
  if (!reading?.smiles) return ["doubt", "No molecule seen", ""];
  const share = percent(reading.confidence);
  if (reading.finish_reason === "length") return ["doubt", "Cut off, not whole", share];
  const number = Math.round(reading.confidence * 100); // as it is shown
  if (number < 50) return ["doubt", "Probably wrong", share];
  if (number < 80) return ["check", "Uncertain", share];
  if (number < 95) return ["sure", "Probably right", share];
  return ["sure", "Very likely right", share];
}

function reason(item) {
  const { reading, sheet } = item;
  if (sheet.state === "failed") return `${sheet.source}: ${sheet.fault}`;
  if (sheet.state !== "read") return "Reading";
  if (reading?.error && !reading.smiles && !item.corrected) return reading.error;
  if (!reading?.smiles && !item.corrected) return "No molecule was seen here.";
  if (!(item.corrected ?? item).drawing) return "This molecule cannot be drawn; the molfile has it.";
  return "";
}

function names(item) {
  const now = item.corrected ?? item.reading ?? {};
  return { smiles: now.cxsmiles ?? now.smiles ?? "", inchikey: now.inchikey ?? "", molfile: now.molfile ?? "" };
}

function showFacts(item) {
  const { reading, sheet } = item;
  const [kind, told, share] = verdict(item);
  const { smiles, inchikey, molfile } = names(item);
  $("name").textContent = name(item);
  $("to-sheet").hidden = !isPage(sheet);
  $("told").textContent = reason(item);
  $("told").className = { read: "", failed: "doubt" }[sheet.state] ?? "waiting";
  $("word").textContent = told;
  $("verdict").className = $("bar").className = kind;
  $("share").textContent = share;
  $("bar").firstElementChild.style.width = item.corrected ? "100%" : share.replace(" ", "") || "0";
  $("smiles").value = smiles;
  $("inchikey").value = inchikey;
  $("as-read-row").hidden = !item.corrected;
  $("as-read").value = reading?.smiles ?? "";
  const warnings = item.corrected ? [] : (reading?.warnings ?? []);
  $("warnings").replaceChildren(...warnings.map((w) => element("li", w)));
  const others = reading?.alternatives ?? [];
  $("others").hidden = !others.length;
  $("others").querySelector("ul").replaceChildren(
    ...others.map((o) => element("li", `${o.smiles}, ${percent(o.confidence ?? 0)}`)),
  );
  $("correct").hidden = !reading;
  document.querySelector(".names").hidden = !smiles;
  for (const button of document.querySelectorAll("[data-save]")) {
    button.disabled = !reading || (button.dataset.save !== "jsonl" && button.dataset.save !== "csv" && !molfile);
  }
  for (const button of document.querySelectorAll("[data-copy]")) button.disabled = !names(item)[button.dataset.copy];
  showDoubts(item.corrected ? [] : (item.drawing?.doubtful ?? []));
}

function showDoubts(doubtful) {
  $("doubts").hidden = !doubtful.length;
  $("doubts").querySelectorAll("button").forEach((b) => b.remove());
  for (const { x, y, label, confidence } of doubtful.slice(0, 30)) {
    const button = element("button", `${label} ${percent(confidence)}`);
    for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, () => point([x, y]));
    for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => point(null));
    $("doubts").append(button);
  }
}

async function drawPage() {
  const sheet = page;
  const canvas = $("page").querySelector("canvas");
  const found = await bitmap(sheet);
  if (sheet !== page) return;
  const made = pen(canvas);
  $("boxes").replaceChildren();
  if (!found) return;
  const [width, height] = [found.width / sheet.unit, found.height / sheet.unit];
  const { scale, left, top } = fit([0, 0, width, height], canvas.clientWidth, canvas.clientHeight, 8);
  made.drawImage(found, left, top, width * scale, height * scale);
  const boxed = sheet.items.filter((item) => item.reading?.box);
  $("boxes").replaceChildren(...boxed.map((item) => {
    const [x0, y0, x1, y1] = widened(item.reading.box, 5 / scale);
    const [kind, , share] = verdict(item);
    const button = element("button", "", kind);
    const label = element("span");
    label.append(element("b", [item.reading.number, share].filter(Boolean).join(" \u00b7 ") || "not read"));
    button.append(label);
    button.setAttribute("aria-label", `${title(item)}: ${verdict(item)[1]} ${share}`);
    const style = { left: x0 * scale + left, top: y0 * scale + top, width: (x1 - x0) * scale, height: (y1 - y0) * scale };
    for (const [key, value] of Object.entries(style)) button.style[key] = `${value}px`;
    button.addEventListener("click", () => open(item));
    return button;
  }));
}
new ResizeObserver(() => page && drawPage()).observe($("page"));

// ---- corrections -----------------------------------------------------------------------------

const editor = new Editor($("editor"));

async function startEditing() {
  if (!current?.reading || page) return;
  const item = current;
  document.body.classList.add("editing");
  for (const id of ["editor", "editing"]) $(id).hidden = false;
  $("correct").hidden = true;
  $("told").textContent = $("write").value = "";
  placeMolecule();
  try {
    await editor.show(names(item).molfile, item.corrected ? [] : (item.drawing?.doubtful ?? []));
  } catch {
    await editor.show("");
    say("The editor cannot show this molecule: draw it anew, or cancel.", true);
  }
}

function stopEditing() {
  if (!document.body.classList.contains("editing")) return;
  document.body.classList.remove("editing");
  for (const id of ["editor", "editing"]) $(id).hidden = true;
}

async function correct() {
  const item = current;
  await editor.shown;
  const molfile = editor.molfile();
  let found;
  try {
    found = await (await post("names", molfile, { "Content-Type": "chemical/x-mdl-molfile" })).json();
  } catch (err) {
    say(err.message, true); // and the editor stays open
    return;
  }
  item.corrected = { ...found, molfile };
  say("");
  refresh(item);
  if (item === current) {
    stopEditing();
    show();
  }
}

// ---- out -------------------------------------------------------------------------------------

// Whether the editor was left without a change of the molecule.
function isAsRead({ reading, corrected }) {
  const name = ({ smiles, cxsmiles }) => cxsmiles ?? smiles;
  return name(corrected) === name(reading);
}

// A reading as it is now.
function asCorrected(item) {
  const { reading, corrected } = item;
  if (!corrected) return reading;
  const { smiles, cxsmiles, inchikey, molfile } = corrected;
  const before = reading.smiles ?? "no molecule";
  const told = isAsRead(item) ? "checked by hand" : `corrected by hand, read as ${before}`;
  const changed = { smiles, cxsmiles, inchikey, molfile, error: null, error_type: null, finish_reason: "end" };
  return { ...reading, ...changed, review: false, atom_confidences: [], warnings: [told] };
}

// The readings of a sheet that failed are told as the command line tells them.
function failed({ sheet }) {
  return { source: sheet.source, page: sheet.page, finish_reason: "error", error: `${sheet.source}: ${sheet.fault}`, error_type: "PictureError" };
}

async function save(items, format, stem) {
  const readings = items.filter((i) => i.reading || i.sheet.fault).map((i) => (i.reading ? asCorrected(i) : failed(i)));
  try {
    const answer = await post(`export?format=${format}`, JSON.stringify(readings), { "Content-Type": "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${stem}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (err) {
    say(err.message, true);
  }
}

function stem(item) {
  const parts = [item.sheet.source.replace(/\.[^.]*$/, ""), item.sheet.pages > 1 ? `p${item.sheet.page}` : "", item.reading?.number ?? ""];
  return parts.filter(Boolean).join("-").replace(/[^\p{L}\p{N}.-]+/gu, "_") || "molecule";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // not allowed, or not on localhost and not by https
    const box = element("textarea");
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}

// ---- what is pressed -------------------------------------------------------------------------

function step(by) {
  const items = all().filter((item) => !item.element.hidden);
  if (items.length) open(items[(items.indexOf(current) + by + items.length) % items.length]);
}

const actions = {
  "pick": () => $("files").click(),
  "photo": () => $("camera").click(),
  "example": async () => add([new File([await (await fetch("example.png")).blob()], "example.png", { type: "image/png" })]),
  "play": () => (replay.playing ? replay.pause() : replay.play()),
  "help-open": () => $("help").showModal(),
  "to-sheet": () => open(current, true),
  "correct": startEditing,
  "done": correct,
  "cancel": () => {
    stopEditing();
    say("");
    show();
  },
  "clear": () => {
    for (const sheet of sheets.splice(0)) sheet.element.remove();
    open(null);
    count();
    say("");
  },
  "revert": () => {
    current.corrected = null;
    refresh(current);
    show();
  },
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
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save([current], button.dataset.save, stem(current)));
}
for (const button of document.querySelectorAll("[data-all]")) {
  button.addEventListener("click", () => save(all(), button.dataset.all, "molgaze"));
}

for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", () => {
    add($(id).files);
    $(id).value = "";
  });
}

$("scrub").addEventListener("input", () => replay.seek(Number($("scrub").value)));
$("gaze").addEventListener("click", (event) => {
  const found = replay.nearest(placeOf(event), (current?.reading?.scale ?? 0) / 2);
  if (found !== null) replay.seek(found + 1);
});

$("editing").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await editor.showSmiles($("write").value.trim());
  } catch {
    say("The editor cannot draw that SMILES.", true);
  }
});

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
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
  add(event.dataTransfer.files);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.closest?.("input:not(#scrub), textarea, #editor")) return;
  if (document.body.classList.contains("editing")) {
    if (event.key === "Escape") actions.cancel();
    return;
  }
  const onButton = event.target.closest?.("button, summary, a");
  const keys = {
    " ": onButton ? null : actions.play,
    "ArrowLeft": () => replay.seek(Math.max(0, Math.ceil(replay.at) - 1)),
    "ArrowRight": () => replay.seek(Math.floor(replay.at) + 1),
    "ArrowUp": () => step(-1),
    "ArrowDown": () => step(1),
    "Escape": () => current && isPage(current.sheet) && open(current, true),
    "o": actions.pick,
    "c": () => document.querySelector("[data-copy=smiles]").click(),
    "s": () => document.querySelector("[data-save=mol]").click(),
    "e": startEditing,
    "?": actions["help-open"],
  };
  const act = keys[event.key];
  if (!act || (!current && !"o?".includes(event.key))) return;
  event.preventDefault();
  act();
});
