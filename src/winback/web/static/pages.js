// The few things plain HTML cannot do here. Every page works without them.

// A mail in the reading pane is as high as its content: one scrollbar, not two. The frame runs no scripts.
function fit(frame) {
  const inside = frame.contentDocument;
  if (inside && inside.documentElement) frame.style.height = Math.max(360, inside.documentElement.scrollHeight) + "px";
}
function fitAll() {
  for (const frame of document.querySelectorAll("iframe[data-fit]")) {
    frame.addEventListener("load", () => fit(frame));
    fit(frame);
  }
}
addEventListener("resize", () => document.querySelectorAll("iframe[data-fit]").forEach(fit));
document.addEventListener("htmx:load", fitAll);
document.addEventListener("DOMContentLoaded", fitAll);

// A choice in a form marked so is a change of page.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit]");
  if (form && event.target.matches("select, input[type=radio]")) form.requestSubmit();
});

// The list beside an opened message shows which one it is.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "open") return;
  document.getElementById("reader").classList.add("reading");
  for (const letter of document.querySelectorAll(".letter")) {
    if (letter.pathname === location.pathname) letter.setAttribute("aria-current", "true");
    else letter.removeAttribute("aria-current");
  }
});
