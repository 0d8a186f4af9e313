// Files in and out: pages of TIFFs, SDF, CSV, downloads.

// Number of pages of a TIFF by its chain of directories; 1 for anything else. As inputs.py does it.
export async function pages(file) {
  const view = new DataView(await file.arrayBuffer());
  const mark = view.byteLength > 16 ? view.getUint16(0) : 0;
  const little = mark === 0x4949;
  if (!little && mark !== 0x4d4d) return 1;
  if (view.getUint16(2, little) !== 42) return 1;
  const seen = new Set();
  try {
    let at = view.getUint32(4, little);
    while (at && !seen.has(at) && seen.size < 1000) {
      seen.add(at);
      at = view.getUint32(at + 2 + 12 * view.getUint16(at, little), little);
    }
  } catch {
    // cut off: as many as were found
  }
  return Math.max(seen.size, 1);
}

const line = (text) => String(text).replace(/[\x00-\x1f\x7f\x85\u2028\u2029]+/g, " ");

export function sdf(records) {
  const parts = [];
  for (const { title, molfile, ...fields } of records) {
    if (!molfile) continue;
    parts.push(molfile.replace(/^[^\n]*/, () => line(title).slice(0, 80)).replace(/\n*$/, "\n"));
    for (const [name, value] of Object.entries(fields)) {
      if (value !== null && value !== undefined && line(value).trim()) {
        parts.push(`>  <${name}>\n${line(value)}\n\n`);
      }
    }
    parts.push("$$$$\n");
  }
  return parts.join("");
}

export function csv(records) {
  const names = [...new Set(records.flatMap((r) => Object.keys(r)))].filter((n) => n !== "molfile" && n !== "title");
  const cell = (value) => {
    let text = String(value ?? "");
    if (/^ *[=+\-@\t\r\n]/.test(text) && typeof value === "string") text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...records.map((r) => names.map((n) => r[n]))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

export function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // not allowed, or not on localhost and not by https
    const box = document.createElement("textarea");
    box.value = text;
    box.className = "hidden";
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}
