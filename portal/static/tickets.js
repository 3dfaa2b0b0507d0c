// The page of a ticket: a canned answer goes into the field, and Ctrl+Enter sends.
(function () {
  "use strict";
  document.addEventListener("change", function (event) {
    var chosen = event.target.closest("[data-canned]");
    var field = chosen && document.getElementById(chosen.dataset.canned);
    if (!field || !chosen.value) return;
    field.value = field.value.trim() ? field.value.trimEnd() + "\n\n" + chosen.value : chosen.value;
    chosen.value = "";
    field.focus();
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) {
      event.target.form.requestSubmit();
    }
  });
})();
