// Shows what is played as it is played: when the server says that something changed, this page is fetched anew and
// each part marked data-live is put in place of the old one. Closed while the tab is hidden, so that open tabs do not
// use up the browser's connections.
const SHORTEST = 1000, LONGEST = 60_000; // ms between two tries
let events;
let opening;
let repeating;
let pause = SHORTEST;
let seen = document.querySelector("[data-seen]")?.dataset.seen; // what this page shows
let told = seen; // what the server said last
let asked = 0;
let underWay = false;

const next = () => (pause = Math.min(2 * pause, LONGEST)) / 2;

function put(fresh) {
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...other.childNodes);
    part.hidden = other.hidden;
    if (focused) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }
}

async function text() {
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    return answer.ok ? await answer.text() : null;
  } catch { // nobody answered, or not to the end
    return null;
  }
}

async function refresh() {
  const turn = ++asked;
  const word = told;
  clearTimeout(repeating);
  underWay = true;
  const page = await text();
  if (turn !== asked) return; // a newer answer is here already, or on its way
  underWay = false;
  if (page === null) {
    repeating = setTimeout(refresh, next());
    return;
  }
  put(new DOMParser().parseFromString(page, "text/html"));
  seen = word;
  pause = SHORTEST;
}

function close() {
  clearTimeout(opening);
  clearTimeout(repeating); // the first word after the next opening asks anew
  events?.close();
}

function open() {
  close();
  events = new EventSource("/live/events");
  events.addEventListener("message", (event) => {
    // The first word counts too, unless it is what the page was made of: something may have been played in between.
    told = event.data;
    if (told !== seen || underWay) refresh();
    else clearTimeout(repeating);
  });
  // A browser tries again by itself while nobody answers, but not after an error page, as a busy server sends.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) opening = setTimeout(open, next());
  });
  events.addEventListener("open", () => { pause = SHORTEST; });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) close();
  else open();
});
if (!document.hidden) open();
