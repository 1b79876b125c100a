"use strict";
// Draw the charts of the page (see charts.js), sort tables, handle switches.

const figures = JSON.parse(document.getElementById("figures").textContent);

function draw(box) {
  drawFigure(box, figures[box.dataset.figure]);
}

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
