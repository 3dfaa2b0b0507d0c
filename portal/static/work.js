// Work orders: a signature drawn with a finger, and where the phone is. Without this a picture is chosen, and a place typed.
(function () {
  "use strict";

  document.querySelectorAll("canvas[data-signature]").forEach(function (pad) {
    var field = pad.form || pad.closest("form");
    var hidden = field.querySelector('input[name="' + pad.dataset.signature + '"]');
    var brush = pad.getContext("2d");
    var drawing = false;

    function blank() {
      brush.fillStyle = "#fff";
      brush.fillRect(0, 0, pad.width, pad.height);
      brush.lineWidth = 3;
      brush.lineCap = brush.lineJoin = "round";
      brush.strokeStyle = "#123";
      hidden.value = "";
    }
    function place(event) {
      var box = pad.getBoundingClientRect();
      return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
    }
    pad.addEventListener("pointerdown", function (event) {
      drawing = true;
      pad.setPointerCapture(event.pointerId);
      var at = place(event);
      brush.beginPath();
      brush.moveTo(at[0], at[1]);
    });
    pad.addEventListener("pointermove", function (event) {
      if (!drawing) return;
      var at = place(event);
      brush.lineTo(at[0], at[1]);
      brush.stroke();
    });
    ["pointerup", "pointercancel"].forEach(function (name) {
      pad.addEventListener(name, function () {
        if (drawing) hidden.value = pad.toDataURL("image/png");
        drawing = false;
      });
    });
    var again = field.querySelector("[data-clear-signature]");
    if (again) again.addEventListener("click", blank);
    blank();
  });

  // The position is asked for when somebody touches a form that has a place for it.
  document.querySelectorAll("[data-position]").forEach(function (field) {
    var form = field.closest("form");
    form.addEventListener("focusin", function () {
      if (field.value || !navigator.geolocation) return;
      navigator.geolocation.getCurrentPosition(function (found) {
        field.value = found.coords.latitude.toFixed(6) + ", " + found.coords.longitude.toFixed(6);
      });
    }, { once: true });
  });
})();
