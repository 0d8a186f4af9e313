// Draws with OpenChemLib and SmilesDrawer: `node draw.mjs '[{"program", "smiles", "file", "width"}]'`.
// Run it where `npm install openchemlib smiles-drawer @resvg/resvg-js @napi-rs/canvas jsdom` was run.
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const { Resvg } = require("@resvg/resvg-js");

function openchemlib(smiles) {
  const { Molecule } = require("openchemlib");
  const quiet = { suppressChiralText: true, suppressESR: true, suppressCIPParity: true };
  return Molecule.fromSmiles(smiles).toSVG(400, 300, undefined, { ...quiet, autoCrop: true });
}

async function smilesdrawer(smiles, theme) {
  const { JSDOM } = require("jsdom");
  const { createCanvas } = require("@napi-rs/canvas");
  const { window } = new JSDOM("");
  Object.assign(globalThis, { window, document: window.document });
  for (const name of ["SVGElement", "SVGSVGElement", "HTMLElement", "HTMLCanvasElement"]) {
    globalThis[name] = window[name];
  }
  const element = document.createElement.bind(document);
  document.createElement = (name) => (name === "canvas" ? createCanvas(8, 8) : element(name));
  const bundle = require.resolve("smiles-drawer").replace(".min.js", ".min.mjs");
  const { default: SmilesDrawer } = await import(bundle);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  SmilesDrawer.parse(smiles, (tree) => {
    new SmilesDrawer.SvgDrawer({ width: 500, height: 400, padding: 20 }).draw(tree, svg, theme);
  });
  // resvg knows the attribute, not the style.
  return new window.XMLSerializer()
    .serializeToString(svg)
    .replace(/style="transform: translateX\((.+?)px\) translateY\((.+?)px\)"/g, 'transform="translate($1 $2)"');
}

const programs = { OpenChemLib: openchemlib, SmilesDrawer: smilesdrawer };
for (const job of JSON.parse(process.argv[2])) {
  const svg = await programs[job.program](job.smiles, job.theme ?? "light");
  const fitTo = { mode: "width", value: job.width };
  const picture = new Resvg(svg, { background: job.theme === "dark" ? "#141414" : "white", fitTo });
  fs.writeFileSync(job.file, picture.render().asPng());
}
