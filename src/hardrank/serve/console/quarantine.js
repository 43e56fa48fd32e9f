// What the guards held back: look at the difference, admit or reject.

import { call, complaint, difference, el, find, sentence, shown, toast, when, whole } from "./parts.js";

const PAGE = 25;

export async function quarantine(place, left) {
  const list = el("ol", { class: "cases", id: "cases", "aria-label": "Listings that wait" });
  const foot = el("div", { class: "foot" });
  const summary = el("p", { class: "soft", role: "status" });
  place.append(
    el("div", { class: "title" }, el("h1", {}, "Quarantine"), el("span", { class: "row" },
      el("button", { type: "button", onclick: () => { load(true); waiting(); } }, "Refresh"),
      el("button", { type: "button", onclick: help, "aria-haspopup": "dialog" }, "Keys ", el("kbd", {}, "?")))),
    el("p", { class: "soft" }, "A guard held these texts back; they are not live. What stood before still stands."),
    summary, list, foot);
  const waiting = held(place, left);
  let after = 0;

  async function load(anew) {
    if (anew) { after = 0; list.replaceChildren(); }
    foot.replaceChildren();
    try {
      const page = await call("GET", `/v1/quarantine?limit=${PAGE}&after=${after}`);
      if (left.aborted) return;
      const first = page.rows.map(card);
      list.append(...first);
      after = page.after;
      if (after !== null) foot.append(el("button", { type: "button", onclick: () => load(false) }, "Show more"));
      count();
      if (!anew && first[0]) first[0].focus();
    } catch (error) {
      if (!left.aborted) foot.replaceChildren(complaint(error));
    }
  }

  function count() {
    const n = list.children.length;
    summary.textContent = n || after !== null
      ? `${n} ${n === 1 ? "case" : "cases"} shown, oldest first${after !== null ? "; there are more" : ""}.`
      : "Nothing waits for a decision.";
  }

  function card(row) {
    const title = row.after.title || (row.before && row.before.title) || row.item_id;
    const spans = (field) => row.spans.filter((s) => s[0] === field).map((s) => [s[1], s[2]]);
    const made = el("li", { class: "case", tabindex: "-1", "data-case": row.id, "aria-label": `Case ${row.id}` },
      el("div", { class: "title" },
        el("h2", {}, shown(title)),
        el("span", { class: "chip" }, row.before ? "a rewrite" : "a new item")),
      el("p", { class: "why" }, el("b", {}, shown(row.guard)), ": ", shown(row.reason || "no reason given")),
      el("p", { class: "note" }, "Item ", el("code", {}, shown(row.item_id)), " · case ", String(row.id), " · came ",
        when(row.created)),
      el("p", { class: "meter-line" }, el("label", {}, `Suspicion ${row.score.toFixed(2)} of 1 `,
        el("meter", { min: 0, max: 1, low: 0.34, high: 0.67, optimum: 0, value: row.score }))),
      el("dl", { class: "texts" }, Object.entries(row.diff).map(([field, pieces]) => el("div", {},
        el("dt", {}, shown(field)), el("dd", {}, difference(pieces, spans(field)))))),
      el("p", { class: "actions" },
        el("button", { type: "button", class: "admit", onclick: () => decide(made, row, "admit") }, "Admit"),
        el("button", { type: "button", class: "reject", onclick: () => decide(made, row, "reject") }, "Reject")));
    return made;
  }

  async function decide(made, row, action) {
    if (made.hasAttribute("aria-busy")) return;
    made.setAttribute("aria-busy", "true");
    for (const button of made.querySelectorAll("button")) button.disabled = true;
    const next = made.nextElementSibling || made.previousElementSibling;
    try {
      const said = await call("POST", `/v1/quarantine/${row.id}/${action}`);
      toast(action === "admit"
        ? `Admitted: item ${row.item_id} reads so from now on.`
        : said.state === "live" ? `Rejected: the old text of item ${row.item_id} still stands.`
          : `Rejected: item ${row.item_id} is not listed.`, "good");
    } catch (error) {
      if (error.status !== 409 && error.status !== 404) {
        toast(`Not decided. ${sentence(error)}`, "bad");
        made.removeAttribute("aria-busy");
        for (const button of made.querySelectorAll("button")) button.disabled = false;
        return;
      }
      toast("Not decided by you: somebody was faster, or a newer text came.", "warn");
    }
    made.remove();
    count();
    badge();
    if (next && next.isConnected) next.focus();
    else if (after !== null) load(false);
  }

  const keys = { j: () => step(1), k: () => step(-1), a: () => press("admit"), r: () => press("reject"), "?": help };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, dialog[open]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || find("help").open) return;
    if (event.key in keys) { event.preventDefault(); keys[event.key](); }
  }, { signal: left });

  function step(by) {
    const here = current(), cases = [...place.querySelectorAll(".case")];
    const at = here ? cases.indexOf(here) + by : 0;
    const to = cases[Math.max(0, Math.min(cases.length - 1, at))];
    if (to) { to.focus({ preventScroll: true }); to.scrollIntoView({ block: "nearest" }); }
  }
  const current = () => document.activeElement && document.activeElement.closest(".case");
  function press(action) {
    const here = current();
    if (here) here.querySelector(`button.${action}`).click();
    else toast("No case is in focus: press j first.", "warn");
  }
  await Promise.all([load(true), waiting()]);
}

const many = (n, what) => `${whole(n)} ${what}${n === 1 ? "" : "s"}`;
const events = (n) => many(n, "event");

// Events that wait, together by item or by user.
function held(place, left) {
  const list = el("ol", { class: "cases", "aria-label": "Events that wait" });
  const says = el("p", { class: "soft", role: "status" });
  let by = "item";
  const ways = ["item", "user"].map((way) => el("button", {
    type: "button", "aria-pressed": String(way === by), onclick: () => turn(way),
  }, `By ${way}`));
  place.append(el("div", { class: "title apart" }, el("h2", {}, "Events held back"),
    el("span", { class: "row", role: "group", "aria-label": "Together" }, ways)),
  el("p", { class: "soft" }, "Clicks and purchases that look made up; until you decide they do not count."), says, list);

  function turn(way) {
    by = way;
    ways.forEach((button, n) => button.setAttribute("aria-pressed", String(["item", "user"][n] === by)));
    load();
  }

  async function load() {
    try {
      const found = await call("GET", `/v1/quarantine/events?by=${by}`);
      if (left.aborted) return;
      list.replaceChildren(...found.groups.map(card));
      says.textContent = found.waiting ? `Waiting: ${events(found.waiting)}.` : "No events wait.";
    } catch (error) {
      if (!left.aborted) list.replaceChildren(el("li", {}, complaint(error)));
    }
  }

  function card(group) {
    const who = by === "item" ? many(group.users, "user") : many(group.items, "item");
    const made = el("li", { class: "case", tabindex: "-1" },
      el("h3", {}, by === "item" ? "Item " : "User ", el("code", {}, shown(group.name))),
      el("p", { class: "why" }, shown(group.reason)),
      el("p", { class: "note" }, `${events(group.events)}, ${who}, suspicion up to ${group.score.toFixed(2)} of 1 · `,
        when(group.first), " to ", when(group.last)),
      el("p", { class: "actions" },
        el("button", { type: "button", class: "admit", onclick: () => decide(made, group, "admit") }, "Let them count"),
        el("button", { type: "button", class: "reject", onclick: () => decide(made, group, "reject") }, "Reject")));
    return made;
  }

  async function decide(made, group, action) {
    const next = made.nextElementSibling || made.previousElementSibling;
    for (const button of made.querySelectorAll("button")) button.disabled = true;
    try {
      const said = await call("POST", `/v1/quarantine/events/${action}`, { by, name: group.name, until: group.until });
      toast(said.events ? `${action === "admit" ? "Admitted" : "Rejected"}: ${events(said.events)} of ${by} ${group.name}.`
        : "Not decided by you: somebody was faster.", said.events ? "good" : "warn");
    } catch (error) {
      toast(`Not decided. ${sentence(error)}`, "bad");
      for (const button of made.querySelectorAll("button")) button.disabled = false;
      return;
    }
    made.remove();
    if (next && next.isConnected) next.focus();
    else await load();
  }
  return load;
}

function badge() {
  const place = find("waiting"), n = Number(place.textContent.replace(/\D/g, "")) - 1;
  place.hidden = n < 1;
  place.textContent = n < 1 ? "" : String(n);
}

function help() {
  find("help").showModal();
  find("help-close").focus();
}
