// Keeps styles, scripts and the page for "no connection". Pages and numbers of a person are never kept.
"use strict";
var KEPT = "portico-shell-1";
var scope = new URL(self.registration.scope).pathname;
var offline = scope + "offline";

self.addEventListener("install", function (event) {
  event.waitUntil(caches.open(KEPT).then(function (cache) { return cache.add(offline); }).then(function () { return self.skipWaiting(); }));
});

self.addEventListener("activate", function (event) {
  event.waitUntil(caches.keys().then(function (names) {
    return Promise.all(names.filter(function (name) { return name.indexOf("portico-shell-") === 0 && name !== KEPT; }).map(function (name) { return caches.delete(name); }));
  }).then(function () { return self.clients.claim(); }));
});

self.addEventListener("fetch", function (event) {
  var request = event.request;
  var url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(function () { return caches.match(offline); }));
  } else if (url.pathname.indexOf("/static/") === 0 && url.searchParams.has("v")) {
    event.respondWith(caches.match(request).then(function (found) {
      return found || fetch(request).then(function (answer) {
        if (answer.ok) { var copy = answer.clone(); caches.open(KEPT).then(function (cache) { cache.put(request, copy); }); }
        return answer;
      });
    }));
  }
});

// What the operator says while no page is open. A tap leads to the page that is open, else to the first one.
self.addEventListener("push", function (event) {
  var said;
  try { said = event.data.json(); } catch (problem) { return; }
  event.waitUntil(self.registration.showNotification(said.title, { body: said.body, tag: said.tag, icon: scope + "icon-192.png" }));
});

self.addEventListener("notificationclick", function (event) {
  event.notification.close();
  event.waitUntil(self.clients.matchAll({ type: "window" }).then(function (open) {
    return open.length ? open[0].focus() : self.clients.openWindow(scope);
  }));
});
