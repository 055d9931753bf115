// The page comes to life: the theme, the filter, the figures, the tables.

const data = JSON.parse(document.getElementById("data").textContent);
const drawnSeries = data.charts.flatMap((chart) => chart.panels.flatMap((panel) => panel.series));
drawnSeries.forEach((series, at) => (series.look = data.looks[data.worn[at]]));
const figures = [...document.querySelectorAll("figure[data-chart]")];
const theme = document.getElementById("theme");
const root = document.documentElement;

function drawAll() {
  const choice = choiceOf(data.variants);
  for (const one of figures) draw(one, data, choice);
  for (const section of document.querySelectorAll("section.table")) filterTable(section, choice);
  document.getElementById("filter-status").textContent = status(choice, figures.filter((one) => one.hidden).length);
}

function dress(name) {
  if (name === "light" || name === "dark") root.dataset.theme = name;
  theme.textContent = isDark() ? "Light" : "Dark";
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

function goTo(anchor) {
  const place = document.getElementById(anchor);
  place?.closest("details")?.setAttribute("open", "");
  place?.scrollIntoView();
}

function arrive() {
  recall();
  dress(address().parts.get("theme")?.[0]);
  drawAll();
  if (address().anchor) goTo(address().anchor);
}

boxes("variant").forEach((box, at) => box.after(swatch(data.looks[data.variants[at].look], "line")));
for (const table of document.querySelectorAll("section.table table")) sortable(table);

theme.hidden = false;
theme.addEventListener("click", () => {
  dress(isDark() ? "light" : "dark");
  remember({ theme: [root.dataset.theme] });
});

bar.hidden = form.elements.length <= 1; // nothing to choose from but the button
bar.open = matchMedia("(min-width: 50rem)").matches;
document.getElementById("contents").open = matchMedia("(min-width: 75rem)").matches;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", () => {
  rememberChoice();
  drawAll();
});
form.addEventListener("reset", () => {
  setTimeout(() => {
    rememberChoice();
    drawAll();
  });
});

// A link within the page keeps what is chosen: its anchor takes the place of the last one.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  event.preventDefault();
  const anchor = link.hash.slice(1);
  const { parts } = address();
  history.replaceState(null, "", `#${anchor}`);
  remember(Object.fromEntries(parts));
  goTo(anchor);
  document.getElementById(anchor)?.focus();
});
addEventListener("hashchange", arrive);

let width = root.clientWidth;
addEventListener("resize", () => {
  if (width !== root.clientWidth) drawAll();
  width = root.clientWidth;
});

arrive();
