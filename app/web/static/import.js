// Drop files, watch the upload, watch the import; the pages work without this by form and reload.
const form = document.querySelector("[data-import]");
const watched = document.querySelector("[data-watch]");

if (form) {
  const drop = form.querySelector("[data-drop]");
  const field = form.querySelector("input[type=file]");
  const bar = form.querySelector("[data-upload]");
  const said = form.querySelector("[data-said]");
  const over = (on) => drop.classList.toggle("over", on);
  ["dragenter", "dragover"].forEach((kind) => form.addEventListener(kind, (event) => {
    event.preventDefault();
    over(true);
  }));
  form.addEventListener("dragleave", () => over(false));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (!event.dataTransfer.files.length) return;
    field.files = event.dataTransfer.files;
    send();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });

  function fail(words) {
    bar.hidden = true;
    said.textContent = words;
    said.classList.add("error");
    form.querySelector("button").disabled = false;
  }

  function send() {
    const request = new XMLHttpRequest(); // fetch tells nothing of an upload's progress
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      bar.max = event.total;
      bar.value = event.loaded;
    });
    request.addEventListener("load", () => {
      if (request.status === 202) location.assign(request.response.href);
      else fail(request.response?.message || `The server refused the files (${request.status}).`);
    });
    request.addEventListener("error", () => fail("The files did not arrive. Is the server there?"));
    bar.hidden = false;
    said.classList.remove("error");
    said.textContent = "Sending …";
    form.querySelector("button").disabled = true;
    request.send(new FormData(form));
  }
}

if (watched) {
  const bar = watched.querySelector("[data-bar]");
  const detail = watched.querySelector("[data-detail]");
  const numbers = new Intl.NumberFormat("en");
  const first = await look();
  let state = first?.state;

  async function look() {
    const answer = await fetch(watched.dataset.watch, { headers: { Accept: "application/json" } });
    return answer.ok ? answer.json() : null;
  }

  async function follow() {
    const now = await look();
    if (now && (!now.active || now.state !== state)) return location.reload();
    if (now) {
      if (now.of) {
        bar.max = now.of;
        bar.value = now.step;
      }
      const what = now.state === "encoding" ? "songs" : "rows";
      detail.textContent = `${numbers.format(now.step)}${now.of ? ` of ${numbers.format(now.of)}` : ""} ${what}`;
    }
    setTimeout(follow, 700);
  }

  if (first && !first.active) location.reload();
  else follow();
}
