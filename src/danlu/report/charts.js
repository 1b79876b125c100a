"use strict";
// Draw Plotly figures in the colours of page.css, and again when their box changes its size.

const touch = matchMedia("(pointer: coarse)").matches;

// Replace "var(--name)" by its value in the style sheet, only under keys that name a colour.
function coloured(value, palette, inColour) {
  if (typeof value === "string") {
    const name = inColour && /^var\((--[a-z0-9-]+)\)$/.exec(value);
    return name ? palette.getPropertyValue(name[1]).trim() : value;
  }
  if (Array.isArray(value)) {
    const plain = !inColour && typeof value[0] !== "object";
    return plain ? value : value.map((item) => coloured(item, palette, inColour));
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, coloured(item, palette, inColour || /color/.test(key))]),
  );
}

function drawFigure(box, plain) {
  if (!box.offsetWidth) return; // hidden; drawn when shown
  const palette = getComputedStyle(document.documentElement);
  const figure = coloured(plain, palette, false);
  figure.layout.font.family = getComputedStyle(document.body).fontFamily;
  figure.layout.dragmode = touch ? false : "zoom"; // on touch screens, dragging over a chart scrolls the page
  if (box.dataset.scale) figure.layout.yaxis.type = box.dataset.scale;
  Plotly.react(box, figure.data, figure.layout, { displayModeBar: false }).then(() => resized.observe(box));
}

// A box also changes its size without a resize of the window: rotation, side panels, frames.
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const drawn = target._fullLayout;
    const changed = drawn && (drawn.width !== target.clientWidth || drawn.height !== target.clientHeight);
    if (changed && target.offsetWidth) requestAnimationFrame(() => Plotly.Plots.resize(target));
  }
});
