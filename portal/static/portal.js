// What moves in the portal. Every page works without this; nothing here decides anything.
(function () {
  "use strict";
  var root = document.documentElement;

  // "/" goes to the search of the whole portal, unless somebody is typing.
  document.addEventListener("keydown", function (event) {
    var typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      var search = document.getElementById("global-search");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
    // A letter does what stands on a page with data-key; on a hit of the search, p registers a payment.
    if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && event.key.length === 1) {
      var hit = event.key === "p" && document.activeElement && document.activeElement.dataset.pay;
      var keyed = document.querySelector('[data-key="' + CSS.escape(event.key) + '"]');
      if (hit) { event.preventDefault(); window.location.assign(hit); return; }
      if (keyed) { event.preventDefault(); keyed.click(); return; }
    }
    // A field that answers while somebody types (macros/search.html): down and up go through what is found.
    var searching = event.target.closest && event.target.closest(".portal-search");
    if (!searching) return;
    var field = searching.querySelector("input[type=search]");
    var results = searching.querySelector(".portal-results");
    if (event.key === "Escape") { results.replaceChildren(); field.focus(); }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      var links = Array.from(results.querySelectorAll("a"));
      var at = links.indexOf(document.activeElement);
      if (links.length && (at >= 0 || event.target === field)) {
        event.preventDefault();
        var next = at + (event.key === "ArrowDown" ? 1 : -1);
        (next < 0 ? field : links[Math.min(next, links.length - 1)]).focus();
      }
    }
  });

  document.addEventListener("click", function (event) {
    var searching = event.target.closest(".portal-search");
    document.querySelectorAll(".portal-search").forEach(function (other) {
      if (other !== searching) other.querySelector(".portal-results").replaceChildren();
    });

    if (event.target.closest("[data-print]")) window.print();
    if (event.target.closest("[data-switch-theme]")) {
      var theme = root.dataset.bsTheme === "dark" ? "light" : "dark";
      root.dataset.bsTheme = theme;
      document.cookie = "portico_theme=" + theme + ";path=/;max-age=31536000;samesite=lax";
      document.dispatchEvent(new CustomEvent("portico:theme"));
    }
    if (event.target.closest("[data-collapse-nav]")) {
      if (root.dataset.nav === "narrow") delete root.dataset.nav; else root.dataset.nav = "narrow";
      try { localStorage.setItem("portico-nav", root.dataset.nav || "wide"); } catch (ignored) { /* not kept */ }
    }
    var copied = event.target.closest("[data-copy]");
    if (copied && navigator.clipboard) {
      navigator.clipboard.writeText(copied.dataset.copy).then(function () { copied.classList.add("copied"); });
    }
  });

  document.addEventListener("change", function (event) {
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
    // A part of a form that only some choices need: data-shown-for="field=value value".
    if (event.target.name) showParts(document);
  });

  function showParts(within) {
    within.querySelectorAll("[data-shown-for]").forEach(function (part) {
      var wanted = part.dataset.shownFor.split("=");
      var field = document.querySelector('[name="' + wanted[0] + '"]:checked, select[name="' + wanted[0] + '"]');
      part.hidden = !field || wanted[1].split(" ").indexOf(field.value) < 0;
    });
  }

  // A licence paid by the year does not end after the month that was proposed; a day that somebody typed stays.
  document.addEventListener("change", function (event) {
    var form = event.target.name === "period" && event.target.closest("[data-until]");
    if (!form) return;
    var proposed = JSON.parse(form.dataset.until), until = form.elements.until;
    if (until.value === proposed[form.dataset.period]) until.value = proposed[event.target.value];
    form.dataset.period = event.target.value;
  });

  // An export takes over what is typed in the search at this moment.
  document.addEventListener("click", function (event) {
    var link = event.target.closest("[data-keeps-search]");
    var search = document.getElementById("list-search");
    if (!link || !search) return;
    var url = new URL(link.href);
    if (search.value) url.searchParams.set("q", search.value); else url.searchParams.delete("q");
    link.href = url.href;
  });

  // Searchable selects.
  function enhance(within) {
    if (window.TomSelect) {
      within.querySelectorAll("select[data-search]").forEach(function (select) {
        // A short list is quicker to read than to search.
        if (!select.tomselect && select.options.length > 12) new window.TomSelect(select, { maxOptions: 200, dropdownParent: "body" });
      });
    }
    showParts(within);
    within.querySelectorAll("[data-graph]").forEach(drawGraph);
  }

  // Between two marks of a graph of things that are counted (data-whole): there is no half a subscriber.
  var WHOLE = [1, 2, 5].concat([1, 2, 3, 4, 5, 6, 7, 8].flatMap(function (power) {
    return [1, 2, 5].map(function (mark) { return mark * Math.pow(10, power); });
  }));

  // Of these lengths uPlot makes one, two, three, six months, and a year.
  var MONTHS = [1, 2, 3, 6].map(function (count) { return count * 30 * 86400; }).concat(365 * 86400);

  // Graphs: the numbers stand in a table of the page, for everybody; this draws them.
  // data-graph="id of the table"; its first column holds the time in seconds, each further column one line.
  // data-days: it is about days, so their hour is not shown; with the value "months" about whole months.
  function drawGraph(place) {
    if (!window.uPlot || place.drawn) return;
    var table = document.getElementById(place.dataset.graph);
    if (!table) return;
    var heads = Array.from(table.querySelectorAll("thead th")).map(function (cell) { return cell.textContent.trim(); });
    var colours = (place.dataset.colours || "#2fb344,#d63939,#4299e1").split(",");
    var columns = heads.map(function () { return []; });
    table.querySelectorAll("tbody tr").forEach(function (row) {
      Array.from(row.cells).forEach(function (cell, at) {
        columns[at].push(cell.dataset.value === "" ? null : Number(cell.dataset.value));
      });
    });
    var dark = root.dataset.bsTheme === "dark";
    var text = dark ? "#9aa8b3" : "#5f6f7c";
    var grid = { stroke: dark ? "rgba(255,255,255,.08)" : "rgba(20,40,60,.08)", width: 1 };
    var day = root.lang === "en" ? "{MMM} {D}" : "{D}/{M}";
    var unit = place.dataset.unit ? " " + place.dataset.unit : "";
    function written(value) { return value.toLocaleString(root.dataset.numbers, { maximumFractionDigits: 2 }) + unit; }
    // Levels marked across the graph: data-lines="value,colour,text;…". data-top fixes the upper end of the scale.
    var levels = (place.dataset.lines || "").split(";").filter(Boolean).map(function (level) {
      var parts = level.split(",");
      return { value: Number(parts[0]), colour: parts[1], text: parts.slice(2).join(",") };
    });
    var least = levels.reduce(function (most, level) { return Math.max(most, level.value); }, 0);
    function drawLevels(plot) {
      levels.forEach(function (level) {
        var y = Math.round(plot.valToPos(level.value, "y", true));
        plot.ctx.save();
        plot.ctx.strokeStyle = plot.ctx.fillStyle = level.colour;
        plot.ctx.lineWidth = window.devicePixelRatio;
        plot.ctx.setLineDash([6 * window.devicePixelRatio, 4 * window.devicePixelRatio]);
        plot.ctx.beginPath();
        plot.ctx.moveTo(plot.bbox.left, y);
        plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
        plot.ctx.stroke();
        plot.ctx.textAlign = "left";
        plot.ctx.textBaseline = "bottom";
        plot.ctx.fillText(level.text, plot.bbox.left + 6, y - 2);
        plot.ctx.restore();
      });
    }
    // A bar stands over the whole hour or day that begins at its time, the last one too.
    var last = place.dataset.bars && columns[0].length > 1 ? columns[0][1] - columns[0][0] : 0;
    place.replaceChildren();
    place.drawn = new window.uPlot({
      width: place.clientWidth,
      height: Number(place.dataset.height || 200),
      tzDate: function (seconds) { return window.uPlot.tzDate(new Date(seconds * 1000), place.dataset.zone || "UTC"); },
      cursor: { drag: { x: true, y: false } },
      scales: { x: { range: function (_plot, low, high) { return low !== null && low === high ? [low - 3600, high + 3600] : [low, high === null ? high : high + last]; } }, y: { range: function (_plot, _low, high) { return [0, Number(place.dataset.top) || Math.max(high * 1.1, least * 1.1, 1)]; } } },
      hooks: { draw: [drawLevels] },
      axes: [
        { stroke: text, grid: grid, ticks: grid, values: [
          [2419200, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
          [86400, day, null, null, null, null, null, null, 1],
          [3600, "{HH}:{mm}", null, null, "\n" + day, null, null, null, 1],
          [60, "{HH}:{mm}", null, null, "\n" + day, null, null, null, 1] ],
          incrs: place.dataset.days === "months" ? MONTHS : undefined },
        { stroke: text, grid: grid, ticks: grid, size: 70, values: function (_plot, ticks) {
          return ticks.map(written);
        }, incrs: place.dataset.whole === undefined ? undefined : WHOLE },
      ],
      series: [{ label: heads[0], value: place.dataset.days === undefined ? "{YYYY}-{MM}-{DD} {HH}:{mm}" : place.dataset.days === "months" ? "{YYYY}-{MM}" : "{YYYY}-{MM}-{DD}" }].concat(heads.slice(1).map(function (head, at) {
        var colour = colours[at % colours.length];
        // A colour that is see-through itself is that of a line without an area: a maximum above its average.
        var line = { label: head, value: function (_plot, value) { return value === null || value === undefined ? "–" : written(value); }, stroke: colour, fill: colour.length > 7 ? null : colour + "22", width: 2, spanGaps: false, points: { show: false } };
        // Amounts of an hour or a day are bars: nothing is between one and the next.
        return place.dataset.bars ? Object.assign(line, { fill: colour + "99", width: 1, paths: window.uPlot.paths.bars({ size: [0.8, 40], align: 1 }) }) : line;
      })),
    }, columns, place);
  }

  window.addEventListener("resize", function () {
    document.querySelectorAll("[data-graph]").forEach(function (place) {
      if (place.drawn) place.drawn.setSize({ width: place.clientWidth, height: Number(place.dataset.height || 200) });
    });
  });
  document.addEventListener("portico:theme", function () {
    document.querySelectorAll("[data-graph]").forEach(function (place) { place.drawn = null; drawGraph(place); });
  });

  // What reads itself again rests while nobody looks.
  document.addEventListener("htmx:beforeRequest", function (event) { if (document.hidden) event.preventDefault(); });
  document.addEventListener("htmx:afterSwap", function (event) { enhance(event.target.parentElement || document); });
  document.addEventListener("DOMContentLoaded", function () {
    enhance(document);
    var problems = document.querySelector("[data-problems]");
    if (problems) problems.focus();
    // On a phone the tabs scroll; the one that is open is in sight.
    var tab = document.querySelector(".portal-tabs .nav-link.active");
    if (tab) tab.parentElement.parentElement.scrollLeft = tab.offsetLeft - 16;
  });
})();
