// The time zone of this device, one press away.
const button = document.querySelector("[data-own-zone]");
const field = document.getElementById("zone");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && [...field.options].some((option) => option.value === zone)) {
  button.hidden = false;
  button.addEventListener("click", () => {
    field.value = zone;
    field.form.requestSubmit();
  });
}
