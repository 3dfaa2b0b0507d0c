// Sends the form that leads back to the router, where there is one. Without this a button does it.
document.querySelector("form[data-go]")?.submit();
