// One subscriber's rate, asked for each second while the page is seen. The server forgets who no longer asks.
(function () {
  "use strict";
  var KEPT = 120;

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-live]").forEach(follow);
  });

  function follow(card) {
    var names = card.dataset.names.split("|");
    var problem = card.querySelector("[data-live-problem]");
    var points = [[], [], []];
    var plot = draw(card.querySelector("[data-live-graph]"), names, card.dataset.zone);

    function show(name, value) {
      var place = card.querySelector('[data-live-value="' + name + '"]');
      place.textContent = value === null ? "–" : (value / 1e6).toLocaleString(document.documentElement.dataset.numbers, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    }

    function take(rate) {
      show("download", rate.download);
      show("upload", rate.upload);
      problem.textContent = rate.problem;
      problem.hidden = !rate.problem;
      var last = points[0][points[0].length - 1];
      if (rate.at === null || rate.at === last) return;
      if (last && rate.at - last > 5) { points[0].push(last + 1); points[1].push(null); points[2].push(null); }
      points[0].push(rate.at);
      points[1].push(rate.download === null ? null : rate.download / 1e6);
      points[2].push(rate.upload === null ? null : rate.upload / 1e6);
      points.forEach(function (one) { while (one.length > KEPT) one.shift(); });
      if (plot) plot.setData(points);
    }

    function ask() {
      if (document.hidden) { window.setTimeout(ask, 1000); return; }
      fetch(card.dataset.live, { headers: { Accept: "application/json" }, credentials: "same-origin" })
        .then(function (answer) { if (!answer.ok) throw new Error(answer.status); return answer.json(); })
        .then(take)
        .catch(function () { show("download", null); show("upload", null); })
        .finally(function () { window.setTimeout(ask, 1000); });
    }
    ask();
  }

  function draw(place, names, zone) {
    if (!window.uPlot) return null;
    var colours = ["#2fb344", "#4299e1"];
    var text = document.documentElement.dataset.bsTheme === "dark" ? "#9aa8b3" : "#5f6f7c";
    var plot = new window.uPlot({
      width: place.clientWidth, height: 240,
      tzDate: function (seconds) { return window.uPlot.tzDate(new Date(seconds * 1000), zone); },
      scales: { y: { range: function (_plot, _low, high) { return [0, Math.max(high * 1.1, 1)]; } } },
      axes: [{ stroke: text, values: [[1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] }, { stroke: text, size: 80, values: function (_plot, ticks) { return ticks.map(function (tick) { return tick + " Mb/s"; }); } }],
      series: [{ label: names[0], value: "{HH}:{mm}:{ss}" }].concat(colours.map(function (colour, at) {
        return { label: names[at + 1], stroke: colour, fill: colour + "22", width: 2, spanGaps: false };
      })),
    }, [[], [], []], place);
    window.addEventListener("resize", function () { plot.setSize({ width: place.clientWidth, height: 240 }); });
    return plot;
  }
})();
