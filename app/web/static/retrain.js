// Live progress of the retrain by server-sent events; the page without scripts reloads itself instead.
const job = document.querySelector("[data-job]");
const phase = job.querySelector("[data-phase]");
const bar = job.querySelector("[data-bar]");
const detail = job.querySelector("[data-detail]");
const curve = job.querySelector("[data-curve]");
const words = { reading: "Reading your songs", learning: "Learning", evaluating: "Looking for your hidden songs", saving: "Saving" };

function draw(losses) {
  if (losses.length < 2) return;
  const high = Math.max(...losses);
  const low = Math.min(...losses);
  const points = losses.map((loss, i) =>
    `${(300 * i / (losses.length - 1)).toFixed(1)},${(75 - 70 * (loss - low) / (high - low || 1)).toFixed(1)}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  curve.replaceChildren(line);
}

const events = new EventSource("/taste/events");
events.addEventListener("message", (event) => {
  const now = JSON.parse(event.data);
  if (!now.active) {
    events.close();
    location.reload();
    return;
  }
  const name = now.state === "queued" ? "Waiting for the worker" : words[now.phase] || "Working";
  phase.textContent = now.of ? `${name}, ${now.step} of ${now.of}` : name;
  bar.max = now.of || 1;
  bar.value = now.step;
  const parts = [];
  if (now.loss !== null) parts.push(`loss ${now.loss.toFixed(4)}`);
  if (now.eta !== null) parts.push(`about ${Math.ceil(now.eta)} s left`);
  detail.textContent = parts.join(" · ");
  draw(now.losses);
});
