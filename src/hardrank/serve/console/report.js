// The audit report that lies in the live bundle, in a frame that runs nothing.

import { call, el } from "./parts.js";

export async function report(place, left) {
  place.append(el("h1", {}, "Audit report of the live bundle"));
  const found = await call("GET", "/v1/report");
  if (left.aborted) return;
  if (!found.there) {
    place.append(el("p", { class: "soft" }, "The live bundle holds no audit report: it was saved without an audit."));
    return;
  }
  place.append(el("iframe", { class: "report", sandbox: "", src: found.href.slice(1),
    title: "Audit report of the live bundle", referrerpolicy: "no-referrer" }));
}
