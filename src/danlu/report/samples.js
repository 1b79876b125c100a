"use strict";
// Charts of samples: the image of the sample under the pointer, and the nearest neighbours of the chosen one.

const shownSamples = figures["features-samples"].samples;
const nearBox = document.getElementById("neighbours");
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip hidden";

// Image and texts of a sample as a figure element; all texts are set as text, never as HTML.
function sampleFigure(i) {
  const figure = document.createElement("figure");
  const { images, names, predicted, words } = shownSamples;
  const wanted = shownSamples.true[i];
  if (images[i]) {
    const image = figure.appendChild(new Image());
    image.src = images[i];
    image.alt = names[i];
  }
  const caption = figure.appendChild(document.createElement("figcaption"));
  const line = (text, name) => {
    const span = caption.appendChild(document.createElement("span"));
    span.textContent = text;
    span.className = name;
  };
  if (wanted !== undefined) line(wanted, "true");
  if (predicted[i] !== undefined && predicted[i] !== wanted) line(words.predicted.replace("{name}", () => predicted[i]), "predicted");
  line(names[i], "file");
  return figure;
}

function choose(i) {
  nearBox.replaceChildren(sampleFigure(i), ...shownSamples.neighbours[i].map(sampleFigure));
  nearBox.dataset.sample = i;
}

function showTip(i, x, y) {
  tip.replaceChildren(sampleFigure(i));
  tip.classList.remove("hidden");
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${y + 14 + height > innerHeight ? Math.max(4, y - height - 14) : y + 14}px`;
}

function follow(box) {
  box.on("plotly_hover", ({ points, event }) => showTip(points[0].customdata, event.clientX ?? 0, event.clientY ?? 0));
  box.on("plotly_unhover", () => tip.classList.add("hidden"));
  box.on("plotly_click", ({ points }) => choose(points[0].customdata));
  box.dataset.followed = "true";
}

// A chart has its events once it is drawn, which a hidden one is when its button is pressed.
const drawnSamples = new MutationObserver(() => {
  for (const box of document.querySelectorAll(".chart.samples")) if (box.on && !box.dataset.followed) follow(box);
});
for (const box of document.querySelectorAll(".chart.samples")) drawnSamples.observe(box, { childList: true, subtree: true });
for (const box of document.querySelectorAll(".chart.samples")) if (box.on) follow(box);
addEventListener("scroll", () => tip.classList.add("hidden"), { passive: true });
choose(shownSamples.first);
