"use strict";
// Draw charts in the colours of page.css, redraw them on resize, sort tables, handle switches.

const figures = JSON.parse(document.getElementById("figures").textContent);
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

function draw(box) {
  if (!box.offsetWidth) return; // hidden; drawn when shown
  const palette = getComputedStyle(document.documentElement);
  const figure = coloured(figures[box.dataset.figure], palette, false);
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

function drawAll() {
  document.querySelectorAll("[data-figure]").forEach(draw);
}

function press(button) {
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
}

document.querySelectorAll("[data-scale] button").forEach((button) => {
  button.addEventListener("click", () => {
    press(button);
    const box = document.querySelector(`[data-figure="${button.parentElement.dataset.scale}"]`);
    box.dataset.scale = button.value;
    draw(box);
  });
});

document.querySelectorAll("button[data-panel]").forEach((button) => {
  button.addEventListener("click", () => {
    press(button);
    for (const other of button.parentElement.children) {
      const box = document.querySelector(`[data-figure="${other.dataset.panel}"]`);
      box.classList.toggle("hidden", other !== button);
      draw(box);
    }
  });
});

function sortBy(table, column, down) {
  const key = (row) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
}

document.querySelectorAll("table.sortable").forEach((table) => {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortBy(table, column, down);
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
