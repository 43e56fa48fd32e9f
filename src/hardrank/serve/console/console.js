// Signing in and out, and which section is open.

import { call, complaint, el, find, keyring, sentence, whole } from "./parts.js";
import { audit } from "./audit.js";
import { exposure } from "./exposure.js";
import { health } from "./health.js";
import { playground } from "./playground.js";
import { quarantine } from "./quarantine.js";
import { report } from "./report.js";

const SECTIONS = { health, quarantine, exposure, playground, report, audit };
let close = null;

function enter(overview) {
  find("door").hidden = true;
  find("inside").hidden = false;
  find("key").value = "";
  about(overview);
  open();
}

function about(overview) {
  find("about").textContent = overview.ready
    ? `${overview.model}, bundle ${overview.bundle}` : "the model is being loaded";
  const waiting = overview.stored ? overview.stored.waiting : 0;
  find("waiting").hidden = !waiting;
  find("waiting").textContent = waiting ? whole(waiting) : "";
}

function leave(message = "") {
  if (close) close();
  close = null;
  keyring.drop();
  find("main").replaceChildren();
  find("inside").hidden = true;
  find("door").hidden = false;
  find("door-says").textContent = message;
  find("key").focus();
}

async function signIn(key) {
  find("door-says").textContent = "";
  try {
    const overview = await call("GET", "/v1/overview", undefined, key);
    keyring.set(key);
    enter(overview);
  } catch (error) {
    leave(error.status === 403
      ? "This key is good, but the console needs one with the role 'review' or 'admin'."
      : sentence(error));
  }
}

function open() {
  if (find("inside").hidden) return;
  const name = location.hash.slice(1) in SECTIONS ? location.hash.slice(1) : "health";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (close) close();
  const place = el("section", { id: `section-${name}` });
  find("main").replaceChildren(place);
  const left = new AbortController();
  close = () => left.abort();
  document.title = `${document.querySelector("nav a[aria-current]").firstChild.textContent.trim()} · Hardrank`;
  SECTIONS[name](place, left.signal, about).catch((error) => {
    if (!left.signal.aborted && error.status !== 401) place.append(complaint(error));
  });
}

document.addEventListener("signed-out", (event) => {
  if (!find("inside").hidden) leave(`${sentence(event.detail)} Sign in again.`);
});
find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(find("key").value.trim());
});
find("sign-out").addEventListener("click", () => leave("You are signed out."));
find("skip").addEventListener("click", () => find("main").focus());
window.addEventListener("hashchange", () => { open(); window.scrollTo(0, 0); });

if (keyring.get()) signIn(keyring.get());
else leave();
