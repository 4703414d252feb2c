// Feedback changes the list at once: what was pressed is sent, then the list is fetched anew and put in place. The focus
// stays on the same button of the same song, or of the song that took its place. A form that was sent takes no second
// press until the new list has come: what it would say is of the old one.
const list = document.getElementById("list");
const status = document.getElementById("said");
const ask = document.querySelector("[data-ask]");
let asked = 0;
const NOBODY = "The server does not answer. Is it there?";

function question() {
  const query = new URLSearchParams(new FormData(ask));
  if (!query.get("wish")) query.delete("wish");
  if (query.get("mode") === "discover") query.delete("mode");
  if (query.get("adventure") === "0") query.delete("adventure");
  return query;
}

const songs = () => [...list.querySelectorAll(".suggestion")];

// What was said goes to the live region, so that it is read out and stays in sight.
function tell() {
  status.replaceChildren(...list.querySelectorAll(".said"));
}

function refocus(focus) {
  const same = songs().find((song) => song.dataset.song === focus.song);
  const song = same || songs()[Math.min(focus.place, songs().length - 1)];
  (song?.querySelector(`[data-verdict="${focus.verdict}"]`) || song?.querySelector("button"))?.focus({ preventScroll: Boolean(same) });
}

async function refresh(more = {}, focus = null) {
  const turn = ++asked;
  const query = question();
  history.replaceState(null, "", `/recommend${query.size ? `?${query}` : ""}`);
  Object.entries({ part: "1", ...more }).forEach(([name, value]) => query.set(name, value));
  list.setAttribute("aria-busy", "true");
  let answer, songsNow;
  try {
    answer = await fetch(`/recommend?${query}`);
    songsNow = await answer.text();
  } catch { // nobody answered, or not to the end
  }
  if (turn !== asked) return;
  list.removeAttribute("aria-busy");
  if (songsNow === undefined) return fail(NOBODY);
  if (!answer.ok || answer.redirected) { // redirected: signed out meanwhile
    location.reload();
    return;
  }
  list.innerHTML = songsNow;
  tell();
  if (focus) refocus(focus);
}

// What the server refuses is said in place, and the forms can be pressed again.
function fail(words, forms = document.querySelectorAll("form[data-busy]")) {
  const note = document.createElement("div");
  note.className = "said";
  note.append(Object.assign(document.createElement("p"), { textContent: words }));
  status.replaceChildren(note);
  for (const form of forms) delete form.dataset.busy;
}

async function send(form, pressed) {
  const card = form.closest(".suggestion");
  const focus = {
    song: card?.dataset.song, place: Math.max(0, songs().indexOf(card)),
    verdict: pressed?.dataset.verdict,
  };
  form.dataset.busy = "";
  let answer, done;
  try {
    answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(new FormData(form, pressed)),
    });
  } catch {
    return fail(NOBODY, [form]);
  }
  if (answer.status === 401) return location.reload(); // signed out meanwhile
  try {
    done = await answer.json();
  } catch { // a proxy's page
    done = {};
  }
  if (!answer.ok) return fail(done.message || `The server did not do it (${answer.status}).`, [form]);
  const more = done.verdict ? { said: done.song, was: done.was }
    : done.hidden ? { hid: done.artist } : done.listen ? { logged: done.listen } : {};
  return refresh(more, focus);
}

ask.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
ask.addEventListener("change", (event) => {
  if (event.target.name !== "wish") refresh();
});
ask.addEventListener("click", (event) => {
  const example = event.target.closest("[data-wish]");
  if (!example) return;
  event.preventDefault();
  ask.elements.wish.value = example.textContent;
  refresh();
});
for (const place of [list, status]) {
  place.addEventListener("submit", (event) => {
    if (!/\/(feedback|hide|show|listens|delete)$/.test(new URL(event.target.action).pathname)) return;
    event.preventDefault();
    if (event.target.dataset.busy === undefined) send(event.target, event.submitter);
  });
}
tell();
