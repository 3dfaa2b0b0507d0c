// What a technician's phone keeps, and how it brings it: used by the page and by the service worker alike.
//
// A step is kept with a key, the time, whose it is and the plan that was seen, until the server says that it was taken.
// It is sent under the login of its owner and under no other.
"use strict";
self.PorticoStore = (function () {
  const ADDING = ["note", "call", "photo"];
  // What is shown beside the order as it is, where somebody changed it meanwhile.
  const SHOWN = ["title", "state_text", "window", "technician", "address", "contact", "description", "outcome"];
  const MOST_STEPS = 50;
  const MOST_OCTETS = 6e6;
  const news = "BroadcastChannel" in self ? new BroadcastChannel("portico-technician") : null;
  let opened = null;

  function open() {
    if (!opened) {
      opened = new Promise(function (resolve, reject) {
        const asked = indexedDB.open("portico-technician", 1);
        asked.onupgradeneeded = function () {
          asked.result.createObjectStore("kept");
          asked.result.createObjectStore("steps", { keyPath: "seq", autoIncrement: true });
        };
        asked.onsuccess = function () { resolve(asked.result); };
        asked.onerror = function () { opened = null; reject(asked.error); };
      });
    }
    return opened;
  }

  async function within(store, mode, act) {
    const db = await open();
    return new Promise(function (resolve, reject) {
      const transaction = db.transaction(store, mode);
      const asked = act(transaction.objectStore(store));
      transaction.oncomplete = function () { resolve(asked.result); };
      transaction.onerror = transaction.onabort = function () { reject(transaction.error); };
    });
  }

  const get = (name) => within("kept", "readonly", (store) => store.get(name));
  const put = (name, value) => within("kept", "readwrite", (store) => store.put(value, name));
  const forget = (name) => within("kept", "readwrite", (store) => store.delete(name));
  const save = (step) => within("steps", "readwrite", (store) => store.put(step));
  const remove = (seq) => within("steps", "readwrite", (store) => store.delete(seq));
  const all = () => within("steps", "readonly", (store) => store.getAll());

  async function stepsOf(owner) {
    return (await all()).filter((step) => step.owner === owner);
  }

  function newKey() {
    if (self.crypto.randomUUID) return self.crypto.randomUUID();
    return Array.from(self.crypto.getRandomValues(new Uint8Array(16)), (octet) => octet.toString(16).padStart(2, "0")).join("");
  }

  function add(owner, order, kind, values, file) {
    const step = { key: newKey(), owner: owner, order: order.id, kind: kind, at: new Date().toISOString(), plan: order.plan, values: values || {}, result: "" };
    step.saw = Object.fromEntries(SHOWN.map((name) => [name, (order.raw || order)[name]]));
    if (file) step.file = file;
    return save(step);
  }

  // What may go now, in the order in which it was done: nothing that follows a step which waits for a decision.
  function ready(steps) {
    const stopped = new Set();
    const going = [];
    let octets = 0;
    for (const step of steps) {
      const waits = step.result === "conflict" || step.result === "refused";
      if (waits) stopped.add(step.order);
      if (waits || (stopped.has(step.order) && !ADDING.includes(step.kind))) continue;
      octets += step.file ? step.file.size : 0;
      if (going.length && (going.length >= MOST_STEPS || octets > MOST_OCTETS)) break;
      going.push(step);
      if (step.kind === "open_again") break;  // what follows needs the plan that it makes
    }
    return going;
  }

  function ask(address, options) {
    // With this header the server says "sign in" by 204, and does not lead to another page.
    const headers = Object.assign({ "HX-Request": "true" }, options && options.headers);
    return fetch(address, Object.assign({ cache: "no-store", credentials: "same-origin" }, options, { headers: headers }));
  }

  async function takeDay() {
    const answer = await ask("/t/day");
    if (answer.status === 204 || answer.redirected) return { state: "signed-out" };
    if (answer.status === 403) return { state: "forbidden" };
    if (!answer.ok) return { state: "later" };
    const day = await answer.json();
    await put("day:" + day.owner, day);
    await put("owner", day.owner);
    return { state: "online", day: day };
  }

  async function send(day, steps) {
    const form = new FormData();
    form.append("owner", day.owner);
    form.append("steps", JSON.stringify(steps.map((step) => ({ key: step.key, order: step.order, kind: step.kind, at: step.at, plan: step.plan, values: step.values }))));
    for (const step of steps) if (step.file) form.append("file-" + step.key, step.file, step.kind);
    const answer = await ask("/t/sync", { method: "POST", body: form, headers: { "X-CSRFToken": day.token } });
    if (answer.status === 204) return "signed-out";
    if (!answer.ok) return "later";
    const results = new Map((await answer.json()).results.map((result) => [result.key, result]));
    for (const step of steps) {
      const result = results.get(step.key);
      if (!result) return "later";
      if (result.result === "taken") {
        await remove(step.seq);
        if (result.plan) await restamp(day.owner, step.order, result.plan);
      } else {
        await save(Object.assign(step, { result: result.result === "held" ? "" : result.result, how: result.how, why: result.why, now: result.now }));
      }
    }
    return "online";
  }

  async function restamp(owner, orderId, plan) {
    for (const step of await stepsOf(owner)) {
      if (step.order === orderId) await save(Object.assign(step, { plan: plan, result: "", why: "", how: "", now: null }));
    }
  }

  async function bring() {
    let found = await takeDay();
    let sent = false;
    while (found.state === "online") {
      const steps = ready(await stepsOf(found.day.owner));
      if (!steps.length) break;
      const state = await send(found.day, steps);
      sent = true;
      if (state !== "online") found = { state: state };
    }
    if (sent && found.state === "online") found = await takeDay();
    return found.state;
  }

  // Returns online, offline, later, signed-out or forbidden. One at a time, however many windows are open.
  async function sync() {
    let state = "offline";
    if (self.navigator.onLine !== false) {
      try {
        state = self.navigator.locks ? await self.navigator.locks.request("portico-technician", bring) : await bring();
      } catch (problem) {
        if (!(problem instanceof TypeError)) throw problem;  // TypeError: there is no way to the server
      }
    }
    if (news) news.postMessage(state);
    return state;
  }

  return { get, put, forget, save, remove, all, stepsOf, add, restamp, sync, ask, news };
})();
