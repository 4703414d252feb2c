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

  function rest() {
    bar.hidden = true;
    said.textContent = "";
    form.querySelector("button").disabled = false;
  }

  function fail(words) {
    rest();
    said.textContent = words;
    said.classList.add("error");
  }

  // Who comes back finds the page as it was left, which is in the midst of sending.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) rest();
  });

  function send() {
    if (form.querySelector("button").disabled) return; // files dropped while others are on their way
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
  const state = watched.dataset.state; // what the page says: it may be over before it is asked for the first time

  // How it stands; null when nobody answers, as while the server is started anew: then it is asked again.
  async function look() {
    try {
      const answer = await fetch(watched.dataset.watch, { headers: { Accept: "application/json" } });
      if ([401, 403, 404].includes(answer.status)) return { active: false }; // signed out, or taken off the list
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
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
    setTimeout(follow, now ? 700 : 2000);
  }

  follow();
}
