// Photos made small, labels read by the camera, and a signature drawn with a finger.
"use strict";
self.PorticoMedia = (function () {
  const LONGEST_SIDE = 1600;
  const LARGEST = 60e6;
  const MAC = /(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}/i;

  // Returns a JPEG of the picture's pixels alone; null for what is no picture, or too large for a phone.
  async function shrink(file) {
    if (!file.size || file.size > LARGEST) return null;
    let picture;
    try {
      picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch (problem) {
      return null;
    }
    const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.82));
  }

  const canScan = "BarcodeDetector" in self;

  // Returns what is written on a label: its MAC address where one is among the codes, else the first code.
  async function scan(file) {
    try {
      const picture = await createImageBitmap(file);
      const codes = (await new self.BarcodeDetector().detect(picture)).map((code) => code.rawValue.trim()).filter(Boolean);
      picture.close();
      const mac = codes.map((code) => code.match(MAC)).find(Boolean);
      return mac ? mac[0] : codes[0] || "";
    } catch (problem) {
      return "";
    }
  }

  function pad(label) {
    const canvas = document.createElement("canvas");
    canvas.width = 640;
    canvas.height = 260;
    canvas.className = "pad";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    const brush = canvas.getContext("2d");
    let drawing = false;
    canvas.clear = function () {
      brush.fillStyle = "#fff";
      brush.fillRect(0, 0, canvas.width, canvas.height);
      brush.lineWidth = 4;
      brush.lineCap = brush.lineJoin = "round";
      brush.strokeStyle = "#000";
      canvas.drawn = false;
    };
    function place(event) {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
    }
    canvas.addEventListener("pointerdown", function (event) {
      drawing = true;
      canvas.setPointerCapture(event.pointerId);
      brush.beginPath();
      brush.moveTo(...place(event));
    });
    canvas.addEventListener("pointermove", function (event) {
      if (!drawing) return;
      brush.lineTo(...place(event));
      brush.stroke();
      canvas.drawn = true;
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { drawing = false; });
    canvas.picture = () => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    canvas.clear();
    return canvas;
  }

  // Returns [latitude, longitude], or null where the phone does not say within a few seconds.
  function position() {
    return new Promise(function (resolve) {
      if (!navigator.geolocation) return resolve(null);
      navigator.geolocation.getCurrentPosition(
        (found) => resolve([Number(found.coords.latitude.toFixed(6)), Number(found.coords.longitude.toFixed(6))]),
        () => resolve(null),
        { enableHighAccuracy: true, timeout: 8000, maximumAge: 60000 }
      );
    });
  }

  return { shrink, scan, canScan, pad, position };
})();
