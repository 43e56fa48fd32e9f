// Exposure over time, what is unusual now, and what somebody says is meant.

import { call, chart, complaint, el, percent, put, sentence, shown, table, toast, when, whole } from "./parts.js";

const EVERY = 15000, LINES = 5, LEAST = 15;
const KINDS = ["a", "b", "c", "d", "e"];

export async function exposure(place, left) {
  const wrong = el("div", {}), alarms = el("div", {}), course = el("div", {}), rest = el("div", { class: "columns" });
  place.append(el("h1", {}, "Exposure over time"),
    el("p", { class: "soft" }, "How often items are shown, and what the monitors find unusual."),
    wrong, alarms, course, rest);
  let chosen = null, latest = null;

  const draw = () => {
    const { exposure, standing } = latest;
    const surging = standing.map((alarm) => alarm.subject);
    chosen = (chosen || []).filter((id) => exposure.items.some((one) => one.item_id === id));
    if (!chosen.length) chosen = defaults(exposure.items, surging);
    alarms.replaceChildren(el("h2", { class: "apart" }, "Alarms that stand"), standing.length
      ? el("ul", { class: "cases" }, standing.map(alarmCard))
      : el("p", { class: "soft" }, "None: nothing is out of the usual."));
    put(course, el("h2", { class: "apart" }, "Share of lists, minute by minute"),
      chart("Shown in", lines(exposure, chosen), { unit: "%", digits: 1, width: place.clientWidth - 30,
        empty: "No list was shown in the last four hours, or only in one minute." }),
      picker(exposure), exposure.sampled < 1 ? el("p", { class: "note" },
        `Lists come fast: a fair sample of ${percent(exposure.sampled)} of them is looked at.`) : null);
    rest.replaceChildren(
      table("Latest alarms", ["When", "What", "Says"], latest.alarms.map((alarm) =>
        [when(alarm.time), [el("b", {}, NAMES[alarm.kind] || shown(alarm.kind)), " ", shown(alarm.subject)], shown(alarm.message)]),
      "No monitor ever raised an alarm."),
      table("Monitors", ["Watches", "Is", "Usual", "Now"], latest.monitors.slice(0, 40).map((state) =>
        [[NAMES[state.kind] || shown(state.kind), el("small", {}, shown(state.subject))], PHASES[state.phase] || state.phase,
          figure(state.usual), figure(state.present)]), "No monitors run."));
  };

  const picker = ({ items }) => el("fieldset", {}, el("legend", {}, `Items on the chart (${LINES} at most)`),
    items.map((one) => el("label", { class: "check" }, el("input", {
      type: "checkbox", checked: chosen.includes(one.item_id), onchange: (event) => pick(one.item_id, event.target),
    }), shown(one.title || one.item_id), " ", el("span", { class: "soft" }, percent(one.share)))),
    items.length ? null : el("p", { class: "soft" }, "No item was shown of late."));

  function pick(item_id, box) {
    if (box.checked && chosen.length >= LINES) {
      box.checked = false;
      toast(`${LINES} lines at most: take one away first.`, "warn");
      return;
    }
    chosen = box.checked ? [...chosen, item_id] : chosen.filter((id) => id !== item_id);
    const old = course.querySelector("figure");
    old.replaceWith(chart("Shown in", lines(latest.exposure, chosen), { unit: "%", digits: 1,
      width: place.clientWidth - 30, empty: "Choose an item." }));
  }

  const alarmCard = (alarm) => {
    const made = el("li", { class: "case alarm" },
      el("h3", {}, NAMES[alarm.kind] || shown(alarm.kind), ": ", shown(alarm.subject)),
      el("p", {}, shown(alarm.message)), el("p", { class: "note" }, "Since ", when(alarm.since)),
      el("p", { class: "actions" }, el("button", { type: "button", onclick: () => accept(alarm, made) }, "This is meant")));
    return made;
  };

  async function accept(alarm, made) {
    for (const button of made.querySelectorAll("button")) button.disabled = true;
    try {
      await call("POST", "/v1/monitors/accept", { kind: alarm.kind, subject: alarm.subject });
      toast(`Accepted: for ${alarm.subject} this is usual from now on.`, "good");
    } catch (error) {
      toast(error.status === 404 ? "This alarm is over already." : `Not accepted. ${sentence(error)}`, "warn");
    }
    await look(true);
  }

  async function look(anew = false) {
    try {
      const found = await call("GET", "/v1/monitors");
      if (left.aborted) return;
      latest = found;
      wrong.replaceChildren();
      if (anew || !place.contains(document.activeElement)) draw(); // nobody loses the focus
    } catch (error) {
      if (!left.aborted) wrong.replaceChildren(complaint(error));
    }
  }

  const again = async () => {
    if (left.aborted) return;
    if (!document.hidden) await look();
    setTimeout(again, EVERY);
  };
  await again();
}

export function defaults(items, surging) {
  const first = items.filter((one) => surging.includes(one.item_id));
  return [...new Set([...first, ...items])].slice(0, LINES).map((one) => one.item_id);
}

// Minutes before the first list are left out, but for the last quarter of an hour.
export function lines({ until, lists, items }, chosen) {
  const first = lists.findIndex((n) => n > 0);
  const from = Math.max(0, Math.min(first < 0 ? lists.length : first, lists.length - LEAST));
  return chosen.map((id, n) => {
    const one = items.find((item) => item.item_id === id);
    const points = one.history.map((share, m) => [until - 60 * (one.history.length - 1 - m), share === null ? null : 100 * share]);
    return { name: one.title || id, kind: KINDS[n], points: points.slice(from) };
  });
}

const figure = (value) => value === null ? "–" : Math.abs(value) >= 100 ? whole(Math.round(value)) : value.toPrecision(3);
const NAMES = {
  "exposure-surge": "An item is shown far more", "event-surge": "Events on an item surge",
  "score-shift": "Scores have shifted", "input-drift": "Texts read otherwise", "guard-rate": "A guard stops more",
};
const PHASES = { learning: "learning", quiet: "quiet", alarm: "alarm" };
