"use strict";
// Take the parts of the page from the stream of events and show those that have changed.

const at = (id) => document.getElementById(id);
const words = JSON.parse(document.body.dataset.words);
const run = document.body.dataset.run;
const query = (more) => "?" + new URLSearchParams({ ...(run && { run }), ...more });
const LAYERS = ["chart:updates", "chart:gradients"];
const figures = {};
let epochs = [], chosen = null; // chosen: an epoch, null to follow the latest

function showChart(name, part) {
  const id = "box-" + name;
  if (part === null) {
    delete figures[name];
    at(id)?.closest(".card").remove();
    return;
  }
  figures[name] = part.figure;
  if (!at(id)) {
    const card = document.createElement("div");
    card.className = "card";
    const head = document.createElement("header");
    head.append(document.createElement("h3"));
    const box = document.createElement("div");
    box.id = id;
    box.className = "chart";
    const layers = LAYERS.includes(name);
    box.style.setProperty("--height", layers ? "400px" : "280px");
    card.append(head, box);
    if (layers) at("layers").hidden = false;
    at(layers ? "layer-charts" : "charts").append(card);
  }
  at(id).closest(".card").querySelector("h3").textContent = part.title;
  drawFigure(at(id), part.figure);
}

function showFindings(html) {
  const open = [...at("cards").querySelectorAll("details")].map((one) => one.open);
  at("findings").hidden = false;
  if (html === null) {
    at("cards").replaceChildren(Object.assign(document.createElement("p"), { className: "lead", textContent: words.none }));
    return;
  }
  at("cards").innerHTML = html; // written and escaped by the server; the policy of the page forbids scripts in it
  at("cards").querySelectorAll("details").forEach((one, i) => { one.open = Boolean(open[i]); });
}

async function showImages() {
  const epoch = chosen === null ? epochs.at(-1) : chosen;
  at("slider").max = epochs.length - 1;
  at("slider").value = epochs.indexOf(epoch);
  at("slider").hidden = epochs.length < 2;
  at("epoch").textContent = `${words.epoch} ${epoch}` + (chosen === null && epochs.length > 1 ? `, ${words.latest}` : "");
  const answer = await fetch("images" + query({ epoch }));
  const html = answer.ok ? await answer.text() : "";
  if (html) at("shown").innerHTML = html;
  at("shown").dataset.epoch = epoch;
}

const SHOW = {
  head: (html) => { at("head").innerHTML = html; },
  word: (word) => { document.body.dataset.state = word; },
  title: (text) => { document.title = `${text} · danlu`; },
  runs: (html) => { at("runs").hidden = html === null; at("table").innerHTML = html ?? ""; },
  findings: showFindings,
  trouble: (text) => { at("trouble").hidden = text === null; at("trouble").textContent = text ?? ""; },
  progress: (done) => {
    const bar = document.querySelector(".bar");
    bar.hidden = done === null;
    bar.firstElementChild.style.width = `${Math.min(100, 100 * (done ?? 0)).toFixed(1)}%`;
  },
  images: (part) => {
    at("images").hidden = part === null;
    if (part !== null && part.epochs.length) {
      epochs = part.epochs;
      showImages();
    }
  },
  no_images: (text) => {
    at("images").hidden = text === null;
    document.querySelector(".epoch").hidden = true;
    at("shown").textContent = text ?? "";
  },
};

function receive(parts) {
  for (const [name, value] of Object.entries(parts)) {
    if (name.startsWith("chart:")) showChart(name, value);
    else SHOW[name]?.(value);
  }
  for (const link of document.querySelectorAll("nav [data-for]")) link.hidden = at(link.dataset.for).hidden;
  document.body.dataset.parts = Number(document.body.dataset.parts ?? 0) + Object.keys(parts).length;
}

at("slider").addEventListener("input", () => {
  const place = Number(at("slider").value);
  chosen = place === epochs.length - 1 ? null : epochs[place];
  showImages();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [name, figure] of Object.entries(figures)) drawFigure(at("box-" + name), figure);
});

const source = new EventSource("events" + query({}));
source.onmessage = (event) => {
  at("lost").hidden = true;
  receive(JSON.parse(event.data));
};
source.onerror = () => {
  at("lost").hidden = false;
  at("lost").textContent = words.lost;
};
