// Turns messages in this browser on. Where the browser cannot have any, the card stays hidden.
(function () {
  "use strict";
  var card = document.getElementById("push");
  if (!card || !("serviceWorker" in navigator) || !("PushManager" in window) || !("Notification" in window)) return;
  var form = card.querySelector("form[data-push]");
  var refused = card.querySelector("[data-refused]");
  card.classList.remove("d-none");

  function subscription() {
    return navigator.serviceWorker.ready.then(function (worker) { return worker.pushManager.getSubscription(); });
  }

  function octets(text) {
    var raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(raw, function (letter) { return letter.charCodeAt(0); });
  }

  subscription().then(function (found) {
    if (found && card.querySelector("[data-browser]")) form.classList.add("d-none");
  });

  form.addEventListener("submit", function (event) {
    event.preventDefault();
    Notification.requestPermission().then(function (answer) {
      if (answer !== "granted") throw new Error(answer);
      return subscription();
    }).then(function (old) {
      return old && old.unsubscribe(); // of who had this browser before
    }).then(function () {
      return navigator.serviceWorker.ready;
    }).then(function (worker) {
      return worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: octets(card.dataset.key) });
    }).then(function (found) {
      var keys = found.toJSON().keys;
      form.elements.endpoint.value = found.endpoint;
      form.elements.p256dh.value = keys.p256dh;
      form.elements.auth.value = keys.auth;
      form.submit();
    }).catch(function () { refused.classList.remove("d-none"); });
  });

  // Who signs out of a browser is told nothing in it any more.
  var out = document.querySelector("form[action$='/sign-out']");
  if (out) {
    out.addEventListener("submit", function (event) {
      event.preventDefault();
      subscription().then(function (found) { return found && found.unsubscribe(); }).catch(function () {})
        .then(function () { out.submit(); });
    });
  }
})();
