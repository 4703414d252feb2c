// Shows what is played as it is played: when the server says that something changed, this page is fetched anew and
// each part marked data-live is put in place of the old one. Closed while the tab is hidden, so that open tabs do not
// use up the browser's connections.
let events;
let seen = document.querySelector("[data-seen]")?.dataset.seen;

async function refresh() {
  const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...other.childNodes);
    part.hidden = other.hidden;
    if (focused) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }
}

function open() {
  events = new EventSource("/live/events");
  events.addEventListener("message", (event) => {
    // The first word counts too, unless it is what the page was made of: something may have been played in between.
    if (event.data !== seen) refresh();
    seen = event.data;
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) events.close();
  else open();
});
if (!document.hidden) open();
