// Live progress of the retrain by server-sent events; the page without scripts reloads itself instead.
const job = document.querySelector("[data-job]");
const phase = job.querySelector("[data-phase]");
const bar = job.querySelector("[data-bar]");
const detail = job.querySelector("[data-detail]");
const curve = job.querySelector("[data-curve]");

function show(now) {
  if (phase.textContent !== now.words) phase.textContent = now.words;
  bar.max = now.of || 1;
  bar.value = now.step;
  detail.textContent = now.left;
  curve.innerHTML = now.curve; // a picture of our own server's, numbers only
}

let pause = 1000; // ms

function watch() {
  const events = new EventSource("/taste/events");
  events.addEventListener("message", (event) => {
    const now = JSON.parse(event.data);
    pause = 1000;
    if (now.active) {
      show(now);
      return;
    }
    events.close();
    location.reload();
  });
  // A browser tries again by itself while nobody answers, but not after an error page, as a restarting proxy sends.
  events.addEventListener("error", () => {
    detail.textContent = "The server does not answer; trying again.";
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(watch, pause);
    pause = Math.min(2 * pause, 60_000);
  });
}
watch();
