// Pictures and molecules in the same frame, so that an atom stands at the same place in both.
// A frame is left, top, right, bottom; it and all places are in the units of the reading.

export const MARK = "rgb(217 119 6)"; // of doubtful atoms

// How a frame lies in an area of the screen: x * scale + left, y * scale + top.
export function fit([x0, y0, x1, y1], width, height, edge = 14) {
  const scale = Math.min((width - 2 * edge) / (x1 - x0), (height - 2 * edge) / (y1 - y0));
  return { scale, left: (width - (x0 + x1) * scale) / 2, top: (height - (y0 + y1) * scale) / 2 };
}

export function union(a, b) {
  if (!a || !b) return a ?? b;
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}

export function widened([x0, y0, x1, y1], edge) {
  return [x0 - edge, y0 - edge, x1 + edge, y1 + edge];
}

// A pen for a canvas that has as many pixels as the screen; its unit is the CSS pixel.
export function pen(canvas) {
  const dense = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.max(1, Math.round(width * dense));
  canvas.height = Math.max(1, Math.round(height * dense));
  const made = canvas.getContext("2d");
  made.scale(dense, dense);
  made.imageSmoothingQuality = "high";
  return made;
}

// The frame of what differs from the paper, in pixels of the picture.
export function inked(bitmap) {
  const { width, height } = bitmap;
  const small = Math.min(1, 300 / Math.max(width, height));
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * small)));
  const draft = new OffscreenCanvas(w, h).getContext("2d", { willReadFrequently: true });
  draft.fillStyle = "#ffffff";
  draft.fillRect(0, 0, w, h);
  draft.drawImage(bitmap, 0, 0, w, h);
  const { data } = draft.getImageData(0, 0, w, h);
  let [x0, y0, x1, y1] = [w, h, 0, 0];
  for (let i = 0; i < w * h; i++) {
    if (Math.abs(data[4 * i] - data[0]) + Math.abs(data[4 * i + 1] - data[1]) + Math.abs(data[4 * i + 2] - data[2]) < 60) continue;
    const [x, y] = [i % w, Math.floor(i / w)];
    [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
  }
  if (x0 >= x1) return [0, 0, width, height];
  return [x0 / small, y0 / small, x1 / small, y1 / small];
}

// A part of a picture, small: of the pixels that become one, that which is least like the paper
// stays, so that thin lines do not break. unit: pixels of the bitmap for one of the frame.
export function thumbnail(canvas, bitmap, frame, unit) {
  const [x0, y0, x1, y1] = frame.map((v) => v * unit);
  const scale = Math.min(canvas.width / (x1 - x0), canvas.height / (y1 - y0));
  const times = Math.min(4, Math.max(1, Math.ceil(1 / scale)));
  const [width, height] = [canvas.width, canvas.height].map((side) => side * times);
  const draft = new OffscreenCanvas(width, height);
  const large = draft.getContext("2d", { willReadFrequently: true });
  large.imageSmoothingQuality = "high";
  const { scale: s, left, top } = fit(frame, width, height, 4 * times);
  large.fillStyle = "#ffffff";
  large.fillRect(0, 0, width, height);
  large.drawImage(bitmap, left, top, bitmap.width / unit * s, bitmap.height / unit * s);
  const [red, green, blue] = large.getImageData(0, 0, 1, 1).data;
  const made = canvas.getContext("2d");
  made.imageSmoothingEnabled = false;
  for (let dx = 0; dx < times; dx++) {
    for (let dy = 0; dy < times; dy++) {
      if (dx || dy) made.globalCompositeOperation = red + green + blue > 380 ? "darken" : "lighten";
      made.drawImage(draft, dx - (times - 1) / 2, dy - (times - 1) / 2, width, height, 0, 0, canvas.width, canvas.height);
    }
  }
}

// A ring round a place.
export function ring(made, [x, y], radius, colour, width = 2) {
  made.beginPath();
  made.arc(x, y, radius, 0, 7);
  made.lineWidth = width;
  made.strokeStyle = colour;
  made.stroke();
}

export const dark = matchMedia("(prefers-color-scheme: dark)");
const LIGHTER = { "#000000": "#e2e8f0", "#0000FF": "#93b4ff", "#FF0000": "#ff9090", "#FFB74C": "#8a5a12" };

// The address of a drawing, in colours for the ground that it stands on.
export function svgUrl(svg) {
  const coloured = dark.matches ? svg.replace(/#[0-9A-F]{6}/g, (colour) => LIGHTER[colour] ?? colour) : svg;
  return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(coloured)}`;
}
