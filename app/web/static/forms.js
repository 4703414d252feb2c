// The second press of a double click sends nothing. The browser would drop the first answer, a newcomer's session with
// it, and show the second, which says that all is done already. Only for moments, so that who gets no answer can try
// again; and by the button, since another one says something else.
const MOMENTS = 3000; // ms
const pressed = new WeakMap();

document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.getAttribute("method") !== "post") return; // a script's, or a question
  const button = event.submitter ?? event.target;
  if (event.timeStamp - (pressed.get(button) ?? -Infinity) < MOMENTS) event.preventDefault();
  else pressed.set(button, event.timeStamp);
});
