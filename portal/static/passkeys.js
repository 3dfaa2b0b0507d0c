// Passkeys: only the browser can ask the device. What it says goes into a hidden field, and the form is sent as usual.
(function () {
  "use strict";

  function octets(text) {
    var plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, function (one) { return one.charCodeAt(0); });
  }
  function text(buffer) {
    var plain = String.fromCharCode.apply(null, new Uint8Array(buffer));
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }
  function keys(list) {
    return (list || []).map(function (one) { return Object.assign({}, one, { id: octets(one.id) }); });
  }
  function made(credential) {
    var answer = credential.response;
    return { clientDataJSON: text(answer.clientDataJSON), attestationObject: text(answer.attestationObject) };
  }
  function used(credential) {
    var answer = credential.response;
    return {
      clientDataJSON: text(answer.clientDataJSON), authenticatorData: text(answer.authenticatorData),
      signature: text(answer.signature), userHandle: answer.userHandle ? text(answer.userHandle) : null
    };
  }

  document.querySelectorAll("form[data-passkey]").forEach(function (form) {
    var making = form.dataset.passkey === "create";
    var problem = form.querySelector("[data-passkey-problem]");

    form.querySelector("[data-passkey-button]").addEventListener("click", function () {
      var options = JSON.parse(form.dataset.options);
      options.challenge = octets(options.challenge);
      problem.hidden = true;
      if (!window.PublicKeyCredential) {
        problem.hidden = false;
        return;
      }
      if (making) {
        options.user.id = octets(options.user.id);
        options.excludeCredentials = keys(options.excludeCredentials);
      } else {
        options.allowCredentials = keys(options.allowCredentials);
      }
      navigator.credentials[making ? "create" : "get"]({ publicKey: options }).then(function (credential) {
        form.querySelector('input[name="passkey"]').value = JSON.stringify({
          id: credential.id, rawId: text(credential.rawId), type: credential.type,
          response: making ? made(credential) : used(credential),
          clientExtensionResults: credential.getClientExtensionResults()
        });
        form.submit();
      }).catch(function () { problem.hidden = false; });
    });
  });
})();
