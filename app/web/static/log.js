// Search as you type, by keyboard: the list is a listbox that the field controls (ARIA combobox pattern). A logged song
// appears among the latest ones in place; the focus stays in the field, and what was done is read out.
const form = document.querySelector("[data-log]");
const field = form.querySelector("input[name=q]");
const lately = document.getElementById("lately");
const said = document.querySelector("[data-said]");
const list = document.createElement("ul");
list.id = "found";
list.className = "found";
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", "Songs");
list.hidden = true;
form.querySelector(".row").after(list);
Object.entries({ role: "combobox", "aria-controls": "found", "aria-autocomplete": "list", "aria-expanded": "false" })
  .forEach(([name, value]) => field.setAttribute(name, value));

let asked = 0;
let chosen = -1;
let waiting;
let busy = false;

const options = () => [...list.children];

function show(songs) {
  list.replaceChildren(...songs.map((song, index) => {
    const option = document.createElement("li");
    option.id = `found-${index}`;
    option.setAttribute("role", "option");
    option.dataset.song = song.id;
    const title = document.createElement("strong");
    title.dir = "auto";
    title.textContent = song.title;
    const artist = document.createElement("span");
    artist.dir = "auto";
    artist.textContent = song.year ? `${song.artist} · ${song.year}` : song.artist;
    option.append(title, " ", artist);
    return option;
  }));
  choose(-1);
  list.hidden = songs.length === 0;
  field.setAttribute("aria-expanded", String(!list.hidden));
}

function choose(index) {
  chosen = index;
  options().forEach((option, i) => option.setAttribute("aria-selected", String(i === index)));
  if (index >= 0) field.setAttribute("aria-activedescendant", `found-${index}`);
  else field.removeAttribute("aria-activedescendant");
}

async function find() {
  const turn = ++asked;
  const query = field.value.trim();
  if (!query) return show([]);
  try {
    const answer = await fetch(`/api/songs?q=${encodeURIComponent(query)}`);
    const found = answer.ok ? await answer.json() : null;
    if (found && turn === asked) show(found.songs);
  } catch { // nobody answered: the next letter asks again
  }
}

// No list any more, and none from a question that is not answered yet.
function stop() {
  clearTimeout(waiting);
  asked += 1;
  show([]);
}

function fail(words) {
  const note = document.createElement("p");
  note.className = "error";
  note.setAttribute("role", "alert");
  note.textContent = words;
  form.querySelector(".error")?.remove();
  form.append(note);
}

// Sends what was pressed, unless something is under way: a second press of a double click means nothing more. What the
// server refuses is said in place.
async function send(address, body, then) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(address, { method: "POST", headers: { Accept: "application/json" }, body });
    if (answer.status === 401) return location.reload(); // signed out meanwhile
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) return fail(said.message || `The server did not do it (${answer.status}).`);
    form.querySelector(".error")?.remove();
    await then(said);
  } catch {
    fail("The server does not answer. Is it there?");
  } finally {
    busy = false;
  }
}

function log(song) {
  return send("/listens", new URLSearchParams({ song_id: song }), ({ listen }) => {
    field.value = "";
    stop();
    return latest(`/?part=lately&logged=${listen}`);
  });
}

async function latest(address) {
  const answer = await fetch(address);
  if (!answer.ok || answer.redirected) return location.reload(); // redirected: signed out meanwhile
  lately.innerHTML = await answer.text();
  said.replaceChildren(...lately.querySelectorAll(".said"));
  field.focus();
}

said.addEventListener("submit", (event) => {
  event.preventDefault();
  const undo = event.target;
  send(undo.action, new URLSearchParams(new FormData(undo)), () => latest("/?part=lately"));
});
field.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(find, 120);
});
field.addEventListener("keydown", (event) => {
  const count = options().length;
  if (event.key === "ArrowDown" && count) choose((chosen + 1) % count);
  else if (event.key === "ArrowUp" && count) choose((chosen - 1 + count) % count);
  else if (event.key === "Escape") stop();
  else if (event.key === "Enter" && chosen >= 0) log(options()[chosen].dataset.song);
  else return;
  event.preventDefault();
});
list.addEventListener("click", (event) => {
  const option = event.target.closest("[data-song]");
  if (option) log(option.dataset.song);
});
if (document.activeElement === field) find(); // what was typed before this script was here
