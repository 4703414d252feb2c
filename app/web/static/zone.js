// Tells the server the browser's own time zone with the form; without scripts it stays UTC.
const field = document.querySelector("[data-zone]");
if (field) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
