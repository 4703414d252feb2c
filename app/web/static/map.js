// Zoom, drag and name the songs of the map. Each lit dot belongs to the row of the table in the same place.
const map = document.querySelector("[data-map]");
const svg = map.querySelector("svg");
const tip = map.querySelector("[data-tip]");
const rows = [...document.querySelectorAll("[data-rows] tr")];
const dots = [...svg.querySelectorAll(".overlay .serie-2 .dot")];
const whole = svg.viewBox.baseVal;
const full = { x: whole.x, y: whole.y, size: whole.width };
let view = { ...full };
let chosen = -1;

map.querySelector("[data-tools]").hidden = false;
svg.removeAttribute("aria-hidden");
svg.setAttribute("role", "application");
svg.setAttribute("aria-label", "Map of your songs; the arrow keys go from song to song");
svg.setAttribute("tabindex", "0");

function set(next) {
  const size = Math.min(full.size, Math.max(full.size / 20, next.size));
  const most = full.size - size;
  view = { size, x: Math.min(most, Math.max(0, next.x)), y: Math.min(most, Math.max(0, next.y)) };
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${size} ${size}`);
  svg.dataset.near = size < full.size / 2 ? "yes" : "no";
}

function zoom(by, x = view.x + view.size / 2, y = view.y + view.size / 2) {
  const size = Math.min(full.size, Math.max(full.size / 20, view.size * by));
  const share = size / view.size;
  set({ size, x: x - (x - view.x) * share, y: y - (y - view.y) * share });
}

function place(event) {
  const box = svg.getBoundingClientRect();
  return [view.x + ((event.clientX - box.left) / box.width) * view.size,
    view.y + ((event.clientY - box.top) / box.height) * view.size];
}

function name(index) {
  dots[chosen]?.classList.remove("chosen");
  rows[chosen]?.classList.remove("chosen");
  chosen = index;
  if (index < 0 || !dots[index]) return;
  dots[index].classList.add("chosen");
  rows[index].classList.add("chosen");
  const [song, near, before, turned] = [...rows[index].children].map((cell) => cell.textContent.trim());
  tip.textContent = near === before ? `${song}: by ${near}, turned by ${turned}` : `${song}: by ${near}, before by ${before}, turned by ${turned}`;
}

map.querySelector("[data-tools]").addEventListener("click", (event) => {
  const kind = event.target.dataset.zoom;
  if (kind === "in") zoom(0.6);
  else if (kind === "out") zoom(1 / 0.6);
  else if (kind === "all") set(full);
});
svg.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && view.size === full.size && event.deltaY > 0) return; // let the page scroll
  event.preventDefault();
  zoom(event.deltaY < 0 ? 0.85 : 1 / 0.85, ...place(event));
}, { passive: false });
dots.forEach((dot, index) => {
  dot.addEventListener("pointerenter", () => name(index));
  dot.addEventListener("click", () => name(index));
});

let from;
svg.addEventListener("pointerdown", (event) => { from = { at: place(event), id: event.pointerId }; });
svg.addEventListener("pointermove", (event) => {
  if (!from || event.pointerId !== from.id || view.size === full.size) return;
  const [x, y] = place(event);
  set({ ...view, x: view.x + from.at[0] - x, y: view.y + from.at[1] - y });
});
for (const kind of ["pointerup", "pointercancel", "pointerleave"]) svg.addEventListener(kind, () => { from = undefined; });

svg.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return; // the browser's own: zoom the page, go back
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (by && dots.length) name((chosen + by + dots.length) % dots.length);
  else if (event.key === "+" || event.key === "=") zoom(0.6);
  else if (event.key === "-") zoom(1 / 0.6);
  else if (event.key === "Escape") set(full);
  else return;
  event.preventDefault();
});
