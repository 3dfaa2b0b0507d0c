// Makes the pages installable on a phone. Without it everything works the same in the browser.
(function () {
  "use strict";
  var place = document.querySelector("link[rel=manifest]");
  if (!place || !("serviceWorker" in navigator)) return;
  var scope = new URL(".", place.href).pathname;
  navigator.serviceWorker.register(scope + "worker.js", { scope: scope }).catch(function () { /* a browser that keeps nothing */ });
})();
