// Feedback changes the list at once: the song's button is sent, then the list is fetched anew and put in place.
const list = document.getElementById("list");
const ask = document.querySelector("[data-ask]");

function here() {
  const query = new URLSearchParams(new FormData(ask));
  if (!query.get("wish")) query.delete("wish");
  return query;
}

async function refresh(focusOn) {
  const query = here();
  history.replaceState(null, "", `/recommend?${query}`);
  query.set("part", "1");
  list.setAttribute("aria-busy", "true");
  const answer = await fetch(`/recommend?${query}`);
  if (answer.ok) list.innerHTML = await answer.text();
  list.removeAttribute("aria-busy");
  if (focusOn !== undefined) {
    const buttons = list.querySelectorAll(".suggestion");
    buttons[Math.min(focusOn, buttons.length - 1)]?.querySelector("button")?.focus();
  }
}

ask.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
ask.addEventListener("change", (event) => {
  if (event.target.name === "mode") refresh();
});
list.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form")) return;
  event.preventDefault();
  const place = [...list.querySelectorAll(".suggestion")].indexOf(form.closest(".suggestion"));
  const answer = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new URLSearchParams(new FormData(form)),
  });
  if (answer.ok) refresh(place);
  else form.submit();
});
