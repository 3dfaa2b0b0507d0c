// Keeps the frame of the technicians' page and its files, and brings what is waiting when coverage returns.
// `PORTICO` is put in front by the server: the page, the store's script, and the files with their versions.
"use strict";
const FRAME = "portico-technician-frame";
const FILES = "portico-technician-files";
const PATIENCE = 4000;
importScripts(self.PORTICO.store);

self.addEventListener("install", function (event) {
  event.waitUntil((async function () {
    const cache = await caches.open(FILES);
    await cache.addAll(self.PORTICO.files);
    // The page that brought this worker was not fetched through it, and may be the last before the coverage ends.
    await keep(await fetch(self.PORTICO.page).catch(() => null));
    await self.skipWaiting();
  })());
});

async function keep(answer) {
  if (answer && answer.ok && !answer.redirected) await (await caches.open(FRAME)).put(self.PORTICO.page, answer.clone());
  return answer;
}

self.addEventListener("activate", function (event) {
  event.waitUntil((async function () {
    const cache = await caches.open(FILES);
    const wanted = new Set(self.PORTICO.files.map((file) => new URL(file, location.origin).href));
    for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
    await self.clients.claim();
  })());
});

async function frame(request) {
  const cache = await caches.open(FRAME);
  const kept = await cache.match(self.PORTICO.page);
  const fresh = fetch(request).then(keep);
  if (!kept) return fresh;
  const late = new Promise((resolve) => setTimeout(() => resolve(kept), PATIENCE));
  try {
    const answer = await Promise.race([fresh, late]);
    // A sign-in that ran out leads elsewhere; the page shows what is waiting, and the way there.
    return answer.type === "opaqueredirect" || answer.status >= 500 ? kept : answer;
  } catch (problem) {
    return kept;
  }
}

self.addEventListener("fetch", function (event) {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (event.request.mode === "navigate" && url.pathname === self.PORTICO.page) {
    event.respondWith(frame(event.request));
  } else if (url.pathname.startsWith("/static/")) {
    event.respondWith(caches.match(event.request).then((found) => found || fetch(event.request)));
  }
});

self.addEventListener("sync", function (event) {
  if (event.tag === "portico-steps") {
    event.waitUntil(self.PorticoStore.sync().then(function (state) {
      if (state === "offline" || state === "later") throw new Error("again later");
    }));
  }
});
