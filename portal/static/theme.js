// Runs before the page is drawn: whoever has not chosen light or dark gets what their system prefers.
(function () {
  "use strict";
  var root = document.documentElement;
  if (!root.dataset.bsTheme) {
    root.dataset.bsTheme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }
  try {
    if (localStorage.getItem("portico-nav") === "narrow") root.dataset.nav = "narrow";
  } catch (ignored) { /* storage may be closed; the navigation is then wide */ }
  root.classList.add("has-script");
})();
