// The technicians' page: shows what the phone keeps, with what was done on it since, and keeps what is done.
(function () {
  "use strict";
  const store = self.PorticoStore;
  const media = self.PorticoMedia;
  const place = document.body.dataset;
  const words = {};
  document.querySelectorAll("#words dt").forEach((term) => { words[term.textContent] = term.nextElementSibling.textContent; });
  const app = document.getElementById("app");
  const kept = new Map();  // fields and signatures that outlive a new drawing of the page
  let state = navigator.onLine ? "online" : "offline";  // until the server was asked
  let busy = false;
  let day = null;
  let steps = [];
  let others = 0;
  let polling = 0;

  function el(name, settings, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(settings || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }
  function keep(key, make) {
    if (!kept.has(key)) kept.set(key, make());
    return kept.get(key);
  }
  const button = (text, act, look, more) => el("button", Object.assign({ type: "button", class: look || "", onclick: act }, more), text);
  const section = (title, ...children) => el("section", null, el("h2", null, title), ...children);
  const labelled = (text, field) => el("label", null, text, field);

  // An order as it is with what was done on this phone since.
  function withSteps(order) {
    const seen = Object.assign({}, order, { raw: order, checklist: order.checklist.map((item) => Object.assign({}, item)), used: order.used.slice(), notes: order.notes.slice(), hanging: order.hanging.slice() });
    seen.waiting = steps.filter((step) => step.order === order.id);
    for (const step of seen.waiting) {
      const values = step.values;
      if (step.result) continue;  // refused, or of a plan that is no more
      switch (step.kind) {
        case "set_out": seen.state = "on_the_way"; break;
        case "begin": seen.state = "in_work"; break;
        case "check": if (seen.checklist[values.place]) seen.checklist[values.place].done = values.done; break;
        case "device": seen.device = values.label; break;
        case "photo": seen.photos += 1; break;
        case "sign": seen.signed = values.signed_name; break;
        case "material": seen.used.push(values.shown); break;
        case "recover": seen.hanging = seen.hanging.filter((device) => device.id !== values.equipment_id); break;
        case "note": case "call": seen.notes.unshift({ at: words.kept, by: "", text: values.text }); break;
        case "locate": seen.position = values.position.map(String); break;
        case "complete": seen.open = false; seen.state = "done"; break;
        case "fail": seen.open = false; seen.state = "failed"; seen.outcome = values.reason; break;
        case "open_again": seen.open = true; seen.state = "open"; break;
      }
    }
    if (seen.waiting.length && words["s_" + seen.state]) seen.state_text = words["s_" + seen.state];
    return seen;
  }

  function missing(order) {
    const found = order.checklist.filter((item) => item.required && !item.done).map((item) => item.text);
    if (order.kind === "installation" && !order.service) found.push(words.m_service);
    if (order.kind === "recovery" && order.hanging.length) found.push(words.m_recover);
    if (order.needs.device && !order.device) found.push(words.m_device);
    if (order.needs.link_test && !(order.link && order.link.test && order.link.test.good)) found.push(words.m_link_test);
    if (order.needs.photo && !order.photos) found.push(words.m_photo);
    if (order.needs.signature && !order.signed) found.push(words.m_signature);
    return found;
  }

  async function act(order, kind, values, file) {
    await store.add(day.owner, order, kind, values, file);
    await load();
    draw();
    const worker = await (navigator.serviceWorker ? navigator.serviceWorker.getRegistration(place.page) : null);
    if (worker && worker.sync) worker.sync.register("portico-steps").catch(() => {});
    bring();
  }

  async function load() {
    const owner = await store.get("owner");
    day = owner ? await store.get("day:" + owner) : null;
    const all = await store.all();
    steps = all.filter((step) => step.owner === owner);
    others = all.length - steps.length;
  }

  let again = false;
  async function bring() {
    if (busy) { again = true; return; }
    busy = true;
    drawState();
    try {
      do { again = false; state = await store.sync(); } while (again && state === "online");
    } finally {
      busy = false;
    }
    await load();
    draw();
  }

  // Drawing.

  function drawState() {
    const waiting = steps.length ? " · " + words.waiting + " " + steps.length : "";
    document.body.className = state;
    document.getElementById("state").textContent = (busy && steps.length ? words.busy : words[state.replace("-", "_")]) + waiting;
  }

  function draw() {
    const focused = document.activeElement;
    const asked = Number((location.hash.match(/^#o(\d+)$/) || [])[1]);
    document.getElementById("back").hidden = !asked;
    drawState();
    const parts = [];
    if (state === "signed-out") parts.push(el("div", { class: "alarm", role: "alert" }, words.sign_in_why, el("a", { class: "button main", href: place.signIn }, words.sign_in)));
    if (state === "forbidden") parts.push(el("div", { class: "alarm", role: "alert" }, words.forbidden));
    if (others) parts.push(el("p", { class: "soft" }, words.of_others + " " + others));
    const open = day && state !== "signed-out" && state !== "forbidden";
    if (open) parts.push(...(asked ? drawOrder(asked) : drawList()));
    parts.push(drawFoot(open));
    app.replaceChildren(...parts);
    if (focused && focused !== document.activeElement && app.contains(focused)) focused.focus({ preventScroll: true });
  }

  function drawFoot(open) {
    return el("footer", null,
      open && el("p", { class: "soft" }, day.name + " · " + words.late_by + " " + new Date(day.at).toLocaleString(document.documentElement.lang)),
      button(words.refresh, bring),
      open && state === "online" && el("a", { class: "button", href: place.home }, words.home),
      open && state === "online" && button(words.sign_out, signOut));
  }

  async function signOut() {
    if (steps.length && !confirm(words.sign_out_sure)) return;
    const form = new FormData();
    form.append("csrf_token", day.token);
    await fetch(place.signOut, { method: "POST", body: form, redirect: "manual" });
    await store.forget("day:" + day.owner);
    await store.forget("owner");
    location.assign(place.signIn);
  }

  function drawList() {
    const parts = [];
    let group = "";
    for (const raw of day.orders) {
      const order = withSteps(raw);
      if (order.group !== group) {
        group = order.group;
        parts.push(el("h2", null, words[group]));
      }
      parts.push(el("a", { class: "visit" + (order.open ? "" : " ended"), href: "#o" + order.id },
        tags(order), el("strong", null, order.title), order.window && el("span", { class: "soft" }, order.window),
        order.address && el("span", { class: "soft" }, order.address),
        order.distance !== null && el("span", { class: "soft" }, order.distance + " " + words.km)));
    }
    // What was done for an order that is no longer this technician's, or not of these days.
    for (const id of new Set(steps.map((step) => step.order))) {
      if (!day.orders.some((order) => order.id === id)) parts.push(el("a", { class: "visit", href: "#o" + id }, el("span", { class: "tag waits" }, words.steps), el("strong", null, lastSeen(id).title)));
    }
    if (!parts.length) parts.push(el("p", null, words.nothing));
    return parts;
  }

  function tags(order) {
    const decides = order.waiting.some((step) => step.result === "conflict" || step.result === "refused");
    return el("span", { class: "tags" }, el("span", { class: "tag" }, order.kind_text), el("span", { class: "tag" }, order.state_text),
      order.urgent && el("span", { class: "tag urgent" }, order.urgent),
      order.waiting.length > 0 && el("span", { class: "tag " + (decides ? "urgent" : "waits") }, words.steps + ": " + order.waiting.length));
  }

  function lastSeen(id) {
    const step = steps.find((one) => one.order === id && (one.now || one.saw));
    return step ? step.now || step.saw : { title: "№ " + id };
  }

  function drawOrder(id) {
    const raw = day.orders.find((order) => order.id === id);
    const waiting = steps.filter((step) => step.order === id);
    if (!raw) return waiting.length ? drawWaiting(waiting) : [el("p", null, words.not_here)];
    const order = withSteps(raw);
    const may = order.open && order.may_do;
    return [
      ...drawWaiting(order.waiting),
      drawHead(order, may),
      order.checklist.length > 0 && drawChecklist(order, may),
      order.service && drawDevice(order, may),
      order.hanging.length > 0 && drawHanging(order, may),
      order.link && drawLink(order, may),
      drawPhotos(order),
      drawMaterials(order),
      drawNotes(order),
      order.service && drawSignature(order, may),
      may && drawEnd(order),
    ].filter(Boolean);
  }

  function drawHead(order, may) {
    const where = order.position ? order.position.join(",") : "";
    const target = order.position ? "geo:" + where + "?q=" + where : "geo:0,0?q=" + encodeURIComponent(order.address);
    return el("section", { id: "head" }, tags(order), el("h2", null, order.title),
      order.window && el("p", null, order.window), order.address && el("p", null, order.address),
      order.contact && el("p", { class: "soft" }, order.contact + (order.phone ? " · " + order.phone : "")),
      order.description && el("p", { class: "pre" }, order.description),
      order.outcome && el("p", { class: "bad" }, order.outcome),
      el("div", { class: "pair" },
        (order.position || order.address) && el("a", { class: "button main", href: target }, words.navigate),
        order.dialled && el("a", { class: "button main", href: "tel:" + order.dialled }, words.call),
        state === "online" && el("a", { class: "button", href: place.desk + order.id }, words.desk)),
      may && ["open", "scheduled"].includes(order.state) && button(words.set_out, () => act(order, "set_out")),
      may && ["open", "scheduled", "on_the_way"].includes(order.state) && button(words.begin, () => act(order, "begin"), "main"),
      may && button(words.here, async function () {
        const found = await media.position();
        if (found) act(order, "locate", { position: found }); else alert(words.no_position);
      }));
  }

  function drawChecklist(order, may) {
    return section(words.checklist, ...order.checklist.map((item, index) => el("button", {
      type: "button", class: "check", "aria-pressed": String(item.done), disabled: !may,
      onclick: () => act(order, "check", { place: index, done: !item.done }),
    }, el("span", null, item.text + (item.required ? " (" + words.needed + ")" : "")))));
  }

  function drawDevice(order, may) {
    const field = keep("device-" + order.id, () => el("input", { name: "label", class: "mono", autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "100", placeholder: "4c:5e:0c:12:34:56" }));
    const bind = (label) => label.trim() && act(order, "device", { label: label.trim() }).then(() => { field.value = ""; });
    const seen = day.seen.slice(0, 12);
    return section(words.device,
      el("p", { class: "soft" }, order.service.plan), el("p", { class: "soft" }, [order.service.method, order.service.name, order.service.state].filter(Boolean).join(" · ")),
      order.device && el("p", { class: "mono good", id: "device" }, order.device),
      may && order.kind !== "recovery" && el("div", null, labelled(words.label, field),
        media.canScan && el("label", { class: "file" }, words.scan, el("input", { type: "file", accept: "image/*", capture: "environment", onchange: async function (event) {
          const file = event.target.files[0];
          event.target.value = "";
          if (!file) return;
          field.value = await media.scan(file);
          if (!field.value) alert(words.nothing_read);
        } })),
        button(words.bind, () => bind(field.value), "main", { id: "bind" }),
        seen.length > 0 && keepOpen("seen-" + order.id, words.seen, seen.map((device) => button(device.mac + (device.where ? " · " + device.where : ""), () => bind(device.mac), "mono")))));
  }

  function keepOpen(key, title, children) {
    const details = keep(key, () => el("details", null, el("summary", null, title)));
    details.replaceChildren(details.firstChild, ...children);
    return details;
  }

  function drawHanging(order, may) {
    return section(words.hanging, ...order.hanging.map(function (device) {
      const field = keep("hanging-" + device.id, () => el("select", { "aria-label": words.taken_down }, ...["technician", "returned", "broken", "lost"].map((value) => el("option", { value: value }, words["e_" + value]))));
      return el("div", { class: "step" }, el("p", { class: "mono" }, device.text), may && field,
        may && button(words.taken_down, () => act(order, "recover", { equipment_id: device.id, state: field.value })));
    }));
  }

  function drawLink(order, may) {
    const link = order.link;
    const test = link.test;
    if (test && test.running && state === "online") followLink(order);
    return section(words.link,
      el("p", { class: link.up ? "good" : "bad" }, link.up ? words.up + " · " + [link.address, link.since].filter(Boolean).join(" · ") : words.down),
      test && el("p", { class: test.good ? "good" : "" }, test.running ? words.testing : test.verdict + " · " + test.at),
      test && el("ul", null, ...test.steps.map((step) => el("li", null, step.name + ": " + step.text))),
      may && (state === "online" ? button(words.test, () => testLink(order), "", { disabled: Boolean(test && test.running) }) : el("p", { class: "soft" }, words.no_link)));
  }

  async function testLink(order) {
    try {
      const answer = await store.ask("/t/orders/" + order.id + "/link", { method: "POST", headers: { "X-CSRFToken": day.token } });
      if (answer.status === 204) return bring();
      const found = await answer.json();
      if (answer.ok) await putLink(order.id, found); else alert(found.why);
    } catch (problem) {
      bring();
    }
  }

  function followLink(order) {
    clearTimeout(polling);
    polling = setTimeout(async function () {
      try {
        const answer = await store.ask("/t/orders/" + order.id + "/link");
        if (answer.ok && answer.status === 200) await putLink(order.id, await answer.json());
      } catch (problem) {
        bring();
      }
    }, 2000);
  }

  async function putLink(id, link) {
    const order = day.orders.find((one) => one.id === id);
    if (order) {
      order.link = link;
      await store.put("day:" + day.owner, day);
    }
    draw();
  }

  function drawPhotos(order) {
    const subject = keep("subject-" + order.id, () => el("select", { "aria-label": words.of_what }, ...["site", "device", "identity", "other"].map((value) => el("option", { value: value }, words["p_" + value]))));
    const may = order.may_do && order.state !== "cancelled";
    return section(words.photos + ": " + order.photos, may && subject, may && el("label", { class: "file" }, words.photo,
      el("input", { type: "file", name: "photo", accept: "image/*", capture: "environment", onchange: async function (event) {
        const file = event.target.files[0];
        event.target.value = "";
        if (!file) return;
        const small = await media.shrink(file);
        if (small) act(order, "photo", { subject: subject.value }, small); else alert(words.no_picture);
      } })));
  }

  function drawMaterials(order) {
    const may = order.may_do && order.state !== "cancelled" && day.materials.length > 0;
    const field = keep("material-" + order.id, () => el("select", { name: "material", "aria-label": words.material }, ...day.materials.map((one) => el("option", { value: one.id }, one.name + " (" + one.unit + ")"))));
    const amount = keep("amount-" + order.id, () => el("input", { name: "quantity", inputmode: "decimal", autocomplete: "off" }));
    if (!may && !order.used.length) return null;
    return section(words.materials, ...order.used.map((text) => el("p", null, text)), may && field, may && labelled(words.quantity, amount),
      may && button(words.add, function () {
        const one = day.materials.find((material) => material.id === Number(field.value));
        const quantity = amount.value.trim();
        if (!one || !quantity) return;
        amount.value = "";
        act(order, "material", { material_id: one.id, quantity: quantity, shown: quantity + " " + one.unit + " " + one.name });
      }));
  }

  function drawNotes(order) {
    const field = keep("note-" + order.id, () => el("textarea", { name: "note", rows: "3", maxlength: "5000" }));
    return section(words.notes, ...order.notes.map((note) => el("p", { class: "pre" }, note.text, el("span", { class: "soft" }, " · " + [note.by, note.at].filter(Boolean).join(", ")))),
      labelled(words.note, field), button(words.add, function () {
        const text = field.value.trim();
        field.value = "";
        if (text) act(order, "note", { text: text });
      }));
  }

  function drawSignature(order, may) {
    const name = keep("signer-" + order.id, () => { const made = el("input", { name: "signer", maxlength: "200", autocomplete: "off" }); made.value = order.contact; return made; });
    const pad = keep("pad-" + order.id, () => media.pad(words.draw));
    if (!may && !order.signed) return null;
    return section(words.signature, order.signed && el("p", { class: "good", id: "signed" }, words.signed_by + " " + order.signed),
      may && el("div", null, el("p", null, words.agreed), labelled(words.signer, name), pad,
        el("div", { class: "pair" }, button(words.again, () => pad.clear()), button(words.sign, async function () {
          if (!pad.drawn || !name.value.trim()) return alert(words.drawn_first);
          const picture = await pad.picture();
          pad.clear();
          act(order, "sign", { signed_name: name.value.trim() }, picture);
        }, "main"))));
  }

  function drawEnd(order) {
    const lacking = missing(order);
    const reason = keep("reason-" + order.id, () => el("textarea", { name: "reason", rows: "2", maxlength: "500" }));
    return el("section", { id: "end" },
      lacking.length > 0 && el("div", null, el("p", { class: "bad" }, words.missing), el("ul", null, ...lacking.map((text) => el("li", null, text)))),
      button(words.complete, () => act(order, "complete"), "done", { id: "complete", disabled: lacking.length > 0 }),
      keepOpen("fail-" + order.id, words.fail, [labelled(words.reason, reason), button(words.fail, function () {
        if (!reason.value.trim()) return alert(words.reason_first);
        act(order, "fail", { reason: reason.value.trim() });
      }, "danger", { id: "fail" })]));
  }

  // What waits, and what must be decided.

  function stepText(step) {
    const values = step.values;
    let more = values.text || values.label || values.signed_name || values.reason || values.shown || "";
    const raw = day.orders.find((order) => order.id === step.order);
    if (step.kind === "check") {
      const item = raw && raw.checklist[values.place];
      more = (values.done ? "☑ " : "☐ ") + (item ? item.text : values.place + 1);
    }
    return words["k_" + step.kind] + (more ? ": " + more : "") + " (" + new Date(step.at).toLocaleString(document.documentElement.lang) + ")";
  }

  function drawWaiting(waiting) {
    if (!waiting.length) return [];
    const conflict = waiting.find((step) => step.result === "conflict");
    const parts = [];
    if (conflict) parts.push(drawConflict(waiting, conflict));
    parts.push(section(words.steps, ...waiting.map((step) => el("div", { class: "step" }, el("div", null, stepText(step)),
      step.result === "refused" && el("p", { class: "bad" }, words.refused + " " + step.why),
      step.result === "refused" && button(words.drop, async function () {
        if (!confirm(words.drop_sure)) return;
        await store.remove(step.seq);
        await load();
        draw();
        bring();
      }, "danger")))));
    return parts;
  }

  function drawConflict(waiting, conflict) {
    const now = conflict.now;
    const saw = conflict.saw;
    const how = { gone: words.gone, reassigned: words.reassigned, ended: words.was_ended, changed: words.was_changed }[conflict.how] || words.was_changed;
    const rows = now && saw ? [["state_text", "f_state"], ["window", "f_window"], ["technician", "f_technician"], ["address", "f_address"], ["contact", "f_contact"], ["description", "f_description"], ["outcome", "f_outcome"]]
      .filter(([name]) => saw[name] || now[name])
      .map(([name, word]) => el("tr", { class: saw[name] === now[name] ? "" : "differs" }, el("th", { scope: "row" }, words[word]), el("td", null, saw[name] || "–"), el("td", null, now[name] || "–"))) : [];
    const possible = now && now.may_do && (now.open || now.may_reopen);
    return el("div", { class: "alarm", id: "conflict", role: "alert" }, el("h2", null, words.conflict), el("p", null, how),
      rows.length > 0 && el("table", null, el("thead", null, el("tr", null, el("td"), el("th", { scope: "col" }, words.you_saw), el("th", { scope: "col" }, words.it_is))), el("tbody", null, ...rows)),
      possible && button(words.mine, () => bringMine(now, waiting), "main", { id: "mine" }),
      now ? button(words.theirs, () => leaveIt(now, waiting), "", { id: "theirs" }) : button(words.drop, () => leaveIt(null, waiting), "danger"));
  }

  async function bringMine(now, waiting) {
    if (!now.open) {
      // It is opened first: all that was done is queued behind it, with its keys.
      await store.add(day.owner, now, "open_again", {});
      for (const step of waiting) {
        const copy = Object.assign({}, step, { plan: now.plan, result: "", how: "", now: null });
        delete copy.seq;
        await store.save(copy);
        await store.remove(step.seq);  // not before: a phone may be switched off at any moment
      }
    } else {
      await store.restamp(day.owner, now.id, now.plan);
    }
    await load();
    bring();
  }

  async function leaveIt(now, waiting) {
    const told = waiting.filter((step) => !["note", "call", "photo"].includes(step.kind));
    if (now && told.length) await store.add(day.owner, now, "note", { text: [words.note_head].concat(told.map(stepText)).join("\n").slice(0, 4900) });
    for (const step of now ? told : waiting) await store.remove(step.seq);
    await load();
    draw();
    bring();
  }

  // Beginning.

  if (store.news) store.news.onmessage = async function (told) {
    if (busy) return;
    state = told.data;
    await load();
    draw();
  };
  window.addEventListener("hashchange", function () { draw(); window.scrollTo(0, 0); });
  window.addEventListener("online", bring);
  window.addEventListener("offline", function () { state = "offline"; draw(); });
  document.addEventListener("visibilitychange", function () { if (!document.hidden) bring(); });
  setInterval(function () { if (!document.hidden) bring(); }, 60000);
  if (navigator.serviceWorker) navigator.serviceWorker.register(place.worker, { scope: place.page }).catch(() => {});
  if (navigator.storage && navigator.storage.persist) navigator.storage.persist();
  load().then(draw).then(bring);
})();
