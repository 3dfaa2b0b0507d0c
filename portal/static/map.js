// The map: asks for what lies in view, draws it, keeps the list beside it in step, and saves what is dragged.
(function () {
  "use strict";
  var STATES = ["online", "offline", "suspended", "late", "other"];
  var COLOURS = { online: "#2fb344", offline: "#667382", suspended: "#d63939", late: "#f76707", other: "#9ba9be" };
  var LISTED = 100;
  var box = document.getElementById("map");
  if (!box || !window.L) return;
  var data = box.dataset;
  var words = JSON.parse(data.words || "{}");
  var numbers = new Intl.NumberFormat(document.documentElement.dataset.numbers);

  function say(word, number) {
    return (words[word] || "").replace("{num}", numbers.format(number));
  }
  function escaped(text) {
    var holder = document.createElement("span");
    holder.textContent = text;
    return holder.innerHTML;
  }
  function make(tag, style, text) {
    var made = document.createElement(tag);
    if (style) made.className = style;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // The ground: pictures of a tile server, or a grid with coordinates.
  var map = L.map(box, { zoomControl: false, worldCopyJump: true, fadeAnimation: false, minZoom: 2, maxZoom: 19, zoomSnap: 1 });
  map.attributionControl.setPrefix(false);
  L.control.zoom({ zoomInTitle: words.zoom_in, zoomOutTitle: words.zoom_out }).addTo(map);
  L.control.scale().addTo(map);
  if (data.tiles) {
    L.tileLayer(data.tiles, { attribution: escaped(data.attribution), maxZoom: 19 }).addTo(map);
  } else {
    var Grid = L.GridLayer.extend({
      createTile: function (at) {
        var corner = map.unproject([at.x * 256, at.y * 256], at.z);
        var digits = Math.max(0, Math.ceil(at.z / 3.3) - 1);
        return make("div", "map-tile", corner.lat.toFixed(digits) + ", " + corner.lng.toFixed(digits));
      }
    });
    new Grid().addTo(map);
  }

  function dot(state) {
    return L.divIcon({ className: "", html: '<span class="map-dot map-' + state + '"></span>', iconSize: [14, 14] });
  }
  var DOTS = {};
  STATES.forEach(function (state) { DOTS[state] = dot(state); });

  // On the page of one subscriber: where they are, and no more.
  if (data.here) {
    var here = JSON.parse(data.here);
    map.setView([here.lat, here.lng], 15);
    L.marker([here.lat, here.lng], { icon: DOTS[here.state] || DOTS.other, keyboard: false, alt: here.name }).addTo(map);
    map.scrollWheelZoom.disable();
    drawNetwork();
    return;
  }

  var status = document.querySelector("[data-map-status]");
  var list = document.querySelector("[data-map-list]");
  var filters = document.querySelector("[data-map-filters]");
  var editButton = document.querySelector("[data-map-edit]");
  var editing = false;
  var markers = new Map();
  var cells = L.layerGroup().addTo(map);
  var group = L.markerClusterGroup({
    chunkedLoading: true, chunkInterval: 20, chunkDelay: 10, maxClusterRadius: 50, showCoverageOnHover: false,
    disableClusteringAtZoom: 18, spiderfyOnMaxZoom: true, animate: false,
    iconCreateFunction: function (cluster) {
      var counts = {};
      cluster.getAllChildMarkers().forEach(function (child) {
        counts[child.options.state] = (counts[child.options.state] || 0) + 1;
      });
      return ring(counts, cluster.getChildCount());
    }
  }).addTo(map);

  // A ring whose arcs are the shares of the states, with the number in the middle.
  function ring(counts, total) {
    var size = total < 100 ? 36 : total < 1000 ? 44 : 52;
    var radius = size / 2 - 4;
    var around = 2 * Math.PI * radius;
    var arcs = "";
    var before = 0;
    STATES.forEach(function (state) {
      var share = (counts[state] || 0) / total * around;
      if (!share) return;
      arcs += '<circle r="' + radius + '" fill="none" stroke="' + COLOURS[state] + '" stroke-width="6" stroke-dasharray="' +
        share.toFixed(2) + " " + (around - share).toFixed(2) + '" stroke-dashoffset="' + (-before).toFixed(2) + '"/>';
      before += share;
    });
    var shown = total < 10000 ? numbers.format(total) : Math.round(total / 1000) + "k";
    return L.divIcon({
      className: "map-cluster", iconSize: [size, size],
      html: '<svg width="' + size + '" height="' + size + '" viewBox="' + [-size / 2, -size / 2, size, size].join(" ") +
        '"><circle class="map-hole" r="' + (radius + 2) + '"/><g transform="rotate(-90)">' + arcs + "</g><text>" + shown + '</text></svg><span class="visually-hidden">' + shown + "</span>"
    });
  }

  // What lies in view.
  var asked = null;
  var timer = null;
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(look, 150);
  }
  function chosen() {
    var query = new URLSearchParams(new FormData(filters));
    Array.from(query.keys()).forEach(function (key) { if (!query.get(key)) query.delete(key); });
    return query;
  }
  function look() {
    var view = map.getBounds().pad(0.1);
    var query = chosen();
    var middle = map.getCenter();
    var address = new URLSearchParams(query);
    address.set("lat", middle.lat.toFixed(5));
    address.set("lng", middle.lng.toFixed(5));
    address.set("zoom", map.getZoom());
    if (!data.place || data.place === "null") history.replaceState(null, "", "?" + address);
    query.set("box", [view.getSouth(), view.getWest(), view.getNorth(), view.getEast()].map(function (corner) { return corner.toFixed(6); }).join(","));
    query.set("zoom", map.getZoom());
    if (asked) asked.abort();
    asked = new AbortController();
    fetch(data.points + "?" + query, { signal: asked.signal }).then(function (answer) {
      if (!answer.ok) throw new Error(answer.status);
      return answer.json();
    }).then(draw).catch(function (problem) {
      if (problem.name !== "AbortError") tell(words.failed);
    });
  }
  function draw(found) {
    cells.clearLayers();
    group.clearLayers();
    markers.clear();
    var total = 0;
    STATES.forEach(function (state) {
      total += found.counts[state] || 0;
      var count = document.querySelector('[data-map-count="' + state + '"]');
      if (count) count.textContent = numbers.format(found.counts[state] || 0);
    });
    tell(total ? say("in_view", total) : words.nobody);
    found.cells.forEach(function (cell) { cells.addLayer(cellMarker(cell)); });
    group.addLayers(found.points.map(pointMarker));
    fillList(found);
    box.dataset.drawn = String(total);
  }
  function cellMarker(cell) {
    var counts = {};
    STATES.forEach(function (state, at) { counts[state] = cell[2 + at]; });
    var total = cell.slice(2).reduce(function (sum, one) { return sum + one; }, 0);
    var text = say("many", total);
    return L.marker([cell[0], cell[1]], { icon: ring(counts, total), keyboard: false, title: text, alt: text })
      .on("click", function () { map.setView([cell[0], cell[1]], map.getZoom() + 2); });
  }
  function pointMarker(point) {
    var marker = L.marker([point[1], point[2]], {
      icon: DOTS[point[3]], state: point[3], title: point[4], alt: point[4] + ", " + words["state_" + point[3]],
      keyboard: false, draggable: editing && Boolean(data.move)
    });
    marker.who = { id: point[0], version: point[5] };
    marker.on("click", function () { showCard(marker); });
    if (editing && data.move) savesWhenDragged(marker, data.move);
    markers.set(point[0], marker);
    return marker;
  }
  function fillList(found) {
    list.textContent = "";
    var entries = found.points.slice(0, LISTED).map(function (point) {
      return { state: point[3], text: point[4], act: function () { open(point); } };
    });
    found.cells.slice().sort(function (a, b) { return sum(b) - sum(a); }).slice(0, 30).forEach(function (cell) {
      entries.push({ text: say("many", sum(cell)), act: function () { map.setView([cell[0], cell[1]], map.getZoom() + 2); } });
    });
    entries.forEach(function (entry) {
      var button = make("button");
      button.type = "button";
      if (entry.state) {
        button.append(make("span", "map-dot map-" + entry.state), make("span", "", entry.text), make("span", "visually-hidden", words["state_" + entry.state]));
      } else {
        button.textContent = entry.text;
      }
      button.addEventListener("click", entry.act);
      var item = make("li");
      item.append(button);
      list.append(item);
    });
  }
  function sum(cell) {
    return cell.slice(2).reduce(function (all, one) { return all + one; }, 0);
  }
  function open(point) {
    var marker = markers.get(point[0]);
    if (!marker) return;
    group.zoomToShowLayer(marker, function () { showCard(marker); });
  }
  function showCard(marker) {
    if (!data.card) return;
    fetch(data.card.replace("/0", "/" + marker.who.id)).then(function (answer) {
      if (!answer.ok) throw new Error(answer.status);
      return answer.text();
    }).then(function (html) {
      var card = make("div");
      card.innerHTML = html; // a page of ours, in which every name is escaped
      L.popup({ maxWidth: 320 }).setLatLng(marker.getLatLng()).setContent(card).openOn(map);
      var link = card.querySelector("a");
      if (link) link.focus({ preventScroll: true });
    }).catch(function () { tell(words.failed); });
  }

  // Putting things where they are.
  function tell(text, undo) {
    status.textContent = text;
    if (!undo) return;
    var button = make("button", "btn btn-sm ms-2", words.undo);
    button.type = "button";
    button.addEventListener("click", undo);
    status.append(button);
  }
  function savesWhenDragged(marker, address) {
    var before;
    marker.on("dragstart", function () { before = marker.getLatLng(); });
    marker.on("dragend", function () { save(marker, address, before); });
  }
  function save(marker, address, before, undone) {
    var place = marker.getLatLng();
    var fields = new URLSearchParams({ latitude: place.lat.toFixed(6), longitude: place.lng.toFixed(6), version: marker.who.version });
    return fetch(address.replace("/0/", "/" + marker.who.id + "/"), {
      method: "POST", body: fields, headers: { "X-CSRFToken": data.csrf }
    }).then(function (answer) {
      return answer.json().then(function (said) {
        if (!answer.ok) {
          if (before) marker.setLatLng(before);
          tell(said.problem || words.failed);
          return;
        }
        marker.who.version = said.version;
        tell(words.saved, before && !undone ? function () {
          marker.setLatLng(before);
          save(marker, address, null, true);
        } : null);
      });
    }).catch(function () {
      if (before) marker.setLatLng(before);
      tell(words.failed);
    });
  }
  if (editButton) {
    editButton.addEventListener("click", function () {
      editing = !editing;
      editButton.setAttribute("aria-pressed", String(editing));
      look();
      drawNetwork();
    });
  }

  // Sites, the wedges of their sectors, and where it is dark.
  function drawNetwork() {
    if (!data.network) return;
    fetch(data.network).then(function (answer) {
      if (!answer.ok) throw new Error(answer.status);
      return answer.json();
    }).then(function (found) {
      if (map.network) map.network.remove();
      map.network = L.layerGroup().addTo(map);
      var sites = {};
      found.incidents.forEach(function (incident) { outage(incident); });
      found.sites.forEach(function (site) { sites[site.id] = site; });
      found.sectors.forEach(function (sector) {
        var site = sites[sector.site];
        if (site) map.network.addLayer(wedge(site, sector));
      });
      found.sites.forEach(function (site) { map.network.addLayer(siteMarker(site)); });
    }).catch(function () { if (status) tell(words.failed); });
  }
  function linked(text, url, below) {
    var card = make("div", "map-card");
    var link = make("a", "fw-bold", text);
    link.href = url;
    card.append(link);
    if (below) card.append(make("div", "text-secondary", below));
    return card;
  }
  function siteMarker(site) {
    var down = site.router_state === "offline";
    var icon = L.divIcon({ className: "", iconSize: [26, 26],
      html: '<span class="map-site' + (down ? " map-down" : "") + '"><i class="ti ti-' + (down ? "plug-connected-x" : "building-broadcast-tower") + '"></i></span>' });
    var marker = L.marker([site.lat, site.lng], { icon: icon, title: site.name, alt: site.name, zIndexOffset: 1000,
      draggable: Boolean(editing && data.moveSite) });
    marker.who = { id: site.id, version: site.version };
    marker.bindPopup(linked(site.name, site.url, site.router));
    if (editing && data.moveSite) {
      savesWhenDragged(marker, data.moveSite);
    }
    return marker;
  }
  function outage(incident) {
    if (!incident.corners.length) return;
    var look = { className: "map-outage" + (incident.proposed ? " map-perhaps" : "") };
    var shape = incident.corners.length > 2 ? L.polygon(incident.corners, look)
      : L.circle(incident.corners[0], Object.assign({ radius: 300 }, look));
    shape.bindPopup(linked((incident.proposed ? words.perhaps : words.outage) + ": " + incident.title, incident.url, numbers.format(incident.subscribers) + " " + words.subscribers));
    map.network.addLayer(shape);
  }
  function wedge(site, sector) {
    var style = { className: "map-wedge map-wedge-" + (sector.dark ? "dark" : sector.load) };
    var shape;
    if (sector.beam >= 360) {
      shape = L.circle([site.lat, site.lng], Object.assign({ radius: sector.reach }, style));
    } else {
      var corners = [[site.lat, site.lng]];
      var steps = Math.max(2, Math.ceil(sector.beam / 6));
      for (var step = 0; step <= steps; step++) {
        corners.push(towards(site, sector.azimuth - sector.beam / 2 + sector.beam * step / steps, sector.reach));
      }
      shape = L.polygon(corners, style);
    }
    return shape.bindPopup(linked(sector.name, sector.url, numbers.format(sector.services) + " " + words.subscribers));
  }
  function towards(site, bearing, metres) {
    var angle = bearing * Math.PI / 180;
    var length = metres / 6371000;
    var latitude = site.lat * Math.PI / 180;
    var end = Math.asin(Math.sin(latitude) * Math.cos(length) + Math.cos(latitude) * Math.sin(length) * Math.cos(angle));
    var across = Math.atan2(Math.sin(angle) * Math.sin(length) * Math.cos(latitude), Math.cos(length) - Math.sin(latitude) * Math.sin(end));
    return [end * 180 / Math.PI, site.lng + across * 180 / Math.PI];
  }

  filters.addEventListener("change", look);
  filters.addEventListener("submit", function (event) { event.preventDefault(); look(); });
  var view = JSON.parse(data.view);
  var around = JSON.parse(data.around);
  if (view) map.setView([view.lat, view.lng], view.zoom);
  else if (around) map.fitBounds([[around[0], around[1]], [around[2], around[3]]], { maxZoom: 15, padding: [30, 30] });
  else map.setView([10, -80], 3);

  var placed = JSON.parse(data.place || "null");
  if (placed) {
    var known = placed.lat !== null;
    if (known) map.setView([placed.lat, placed.lng], 16);
    var pin = L.marker(known ? [placed.lat, placed.lng] : map.getCenter(), { draggable: true, title: placed.name, alt: placed.name, zIndexOffset: 2000,
      icon: L.divIcon({ className: "", html: '<div class="map-pin"></div>', iconSize: [20, 20], iconAnchor: [10, 22] }) }).addTo(map);
    pin.who = { id: placed.id, version: placed.version };
    pin.on("dragend", function () { save(pin, data.move, null); });
    map.on("click", function (event) {
      pin.setLatLng(event.latlng);
      save(pin, data.move, null);
    });
  }
  map.on("moveend", soon);
  look();
  drawNetwork();
})();
