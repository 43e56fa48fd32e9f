// What an edit of a listing would do, on the live model and on an undefended one.

import { call, complaint, el, find, marked, percent, put, shown, table, whole } from "./parts.js";

const PAUSE = 300, LOADING = 1500;
const LOOKALIKE = { a: "а", c: "с", e: "е", o: "о", p: "р", x: "х", y: "у", i: "і" };

export async function playground(place, left) {
  const choices = el("ul", { class: "choices", "aria-label": "Items found" });
  const editor = el("div", { class: "editor" }), result = el("div", { class: "result" });
  const says = el("p", { class: "verdict", role: "status", "aria-live": "polite" });
  const wrong = el("div", {});
  place.append(el("h1", {}, "Attack playground"),
    el("p", { class: "soft" }, "Rewrite a listing as an attacker would and see where it would stand. ",
      "Nothing is stored and no item changes."),
    el("div", { class: "play" },
      el("div", {},
        el("div", { class: "field" }, el("label", { for: "search" }, "Find an item by its title or id"),
          el("input", { id: "search", type: "search", maxlength: 200, autocomplete: "off", spellcheck: "false",
            oninput: () => later("search", 200, search) })),
        choices, editor),
      says, el("div", {}, wrong, result)));
  const timers = {};
  let item = null, number = 0, popular = [];

  function later(name, pause, work) {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(() => { if (!left.aborted) work(); }, pause);
  }

  async function search() {
    const wanted = find("search").value;
    try {
      const found = await call("GET", `/v1/playground/items?q=${encodeURIComponent(wanted)}`);
      if (left.aborted || wanted !== find("search").value) return;
      if (!wanted.trim()) popular = found.items;
      choices.replaceChildren(...found.items.map((one) => el("li", {}, el("button", {
        type: "button", onclick: () => choose(one.item_id),
      }, shown(one.title || one.item_id), el("small", {}, shown(one.item_id))))));
      if (!found.items.length) choices.append(el("li", { class: "soft" }, "No live item is called so."));
    } catch (error) {
      if (!left.aborted) choices.replaceChildren(el("li", {}, complaint(error)));
    }
  }

  async function choose(item_id) {
    item = null;
    wrong.replaceChildren();
    try {
      const found = await call("POST", "/v1/playground", { item_id });
      if (left.aborted) return;
      item = found;
      choices.replaceChildren();
      edit(found);
      draw(found);
      const first = editor.querySelector("textarea");
      if (first) first.focus();
    } catch (error) {
      if (!left.aborted) wrong.replaceChildren(complaint(error));
    }
  }

  function edit(found) {
    const columns = found.text_columns.slice(0, 8);
    put(editor, el("h2", {}, shown(found.standing.title || found.item_id)),
      columns.map((name) => {
        const box = el("textarea", { id: `text-${name}`, "data-name": name, rows: name === "title" ? 2 : 3,
          maxlength: 5000, spellcheck: "false", "aria-describedby": `about-${name}`, oninput: changed });
        box.value = found.standing[name];
        return el("div", { class: "field" }, el("label", { for: `text-${name}` }, shown(name)), box,
          el("p", { class: "note", id: `about-${name}` }, found.live.reads.includes(name)
            ? "The live model reads this." : "The live model does not read this."));
      }),
      el("fieldset", {}, el("legend", {}, "Try on the first text"),
        TRICKS.map(([label, trick]) => el("button", { type: "button", onclick: () => apply(trick) }, label)),
        el("button", { type: "button", onclick: reset }, "Undo all")),
      el("div", { class: "field" }, el("label", { for: "people" }, "Users whose ranks to show"),
        el("input", { id: "people", type: "text", autocomplete: "off", spellcheck: "false", oninput: changed,
          "aria-describedby": "about-people" }),
        el("p", { class: "note", id: "about-people" }, "Ids with commas between, 50 at most; empty: some of the sample.")));
  }

  const boxes = () => [...editor.querySelectorAll("textarea")];
  const changed = () => later("ask", PAUSE, ask);
  function apply(trick) {
    const [first] = boxes();
    first.value = trick(first.value, popular).slice(0, 5000);
    ask();
  }
  function reset() {
    for (const box of boxes()) box.value = item.standing[box.dataset.name];
    ask();
  }

  async function ask() {
    if (!item) return;
    const mine = ++number, fields = {};
    for (const box of boxes()) {
      const standing = item.standing[box.dataset.name];
      if (box.value !== standing.replace(/\r\n?/g, "\n")) fields[box.dataset.name] = box.value;
    }
    const people = find("people").value.split(",").map((id) => id.trim()).filter(Boolean);
    place.setAttribute("aria-busy", "true");
    try {
      const body = { item_id: item.item_id, fields, user_ids: people.length ? people.slice(0, 50) : null };
      const found = await call("POST", "/v1/playground", body);
      if (left.aborted || mine !== number) return;
      wrong.replaceChildren();
      draw(found, fields);
    } catch (error) {
      if (!left.aborted && mine === number) wrong.replaceChildren(complaint(error));
    } finally {
      if (mine === number) place.removeAttribute("aria-busy");
    }
  }

  function draw(found, fields = {}) {
    const { live, control, verdict } = found, edited = Object.keys(fields).length > 0;
    says.className = `verdict ${edited ? verdict.action : "none"}`;
    says.replaceChildren(...(edited ? summary(found) : ["This is how it stands now. Change a text to see what moves."]));
    const other = control || { er10: [null, null], er50: [null, null], users: [] };
    const exposures = [["the first 10", live.er10, other.er10], ["the first 50", live.er50, other.er50]];
    put(result,
      el("div", { class: "said" }, edited ? guards(verdict, fields) : []),
      table("How many would see it", ["Listed among", "Live model", "Undefended model"],
        exposures.map(([name, a, b]) => [name, moved(a, "live"), control ? moved(b, "control") : "–"]), ""),
      el("p", { class: "note" }, `Share of ${whole(found.sample)} sample users who have not had the item, now → after the edit. `,
        CONTROL[found.control_state]),
      live.known ? null : el("p", { class: "note" }, "The item is newer than the training: it is scored in the place of a trained one with few events."),
      table("Rank for single users", ["User", "Live rank", "Undefended rank", "Live score"],
        live.users.map((user, n) => [
          [el("code", {}, shown(user.user_id)), el("small", {}, user.recent.length
            ? ["had ", user.recent.map((title, n) => [n ? ", " : "", shown(title)])] : "no history")],
          rank(user), other.users[n] ? rank(other.users[n]) : "–",
          arrow(score(user.before.score), score(user.after.score))]), "The service knows no users yet."));
    if (found.control_state === "loading") later("ask", LOADING, ask);
  }

  await search();
  says.replaceChildren("Choose an item to begin; the most popular ones are listed.");
}

function summary({ live, control, verdict, sample }) {
  const er = (side) => `${percent(side.er10[0])} → ${percent(side.er10[1])}`;
  return [el("b", {}, ACTIONS[verdict.action]), ` In the first 10 of ${whole(sample)} users: live model ${er(live)}`,
    control ? `, undefended model ${er(control)}.` : "."];
}

function guards(verdict, fields) {
  if (verdict.action === "none") return [];
  const spans = (name) => verdict.spans.filter((s) => s[0] === name).map((s) => [s[1], s[2]]);
  const mended = verdict.fields || {};
  return [
    el("p", {}, el("b", {}, shown(verdict.guard || "guards")), `, suspicion ${verdict.score.toFixed(2)} of 1: `,
      shown(verdict.reason || "nothing to object to")),
    el("dl", { class: "texts" }, Object.entries(fields).map(([name, text]) => el("div", {}, el("dt", {}, shown(name)),
      el("dd", {}, marked(text, spans(name))),
      mended[name] !== undefined && mended[name] !== text
        ? el("dd", {}, el("span", { class: "note" }, "mended: "), shown(mended[name])) : null))),
  ];
}

function moved([before, after], kind) {
  if (before === null || after === null) return "–";
  const meter = (value, name) => el("span", { class: `bar ${kind} ${name}` }, (() => {
    const inner = el("span", {});
    inner.style.width = `${100 * value}%`;
    return inner;
  })());
  return [arrow(percent(before), percent(after)), meter(before, "was"), meter(after, "is")];
}

const arrow = (before, after) => before === after ? String(after)
  : el("span", { class: "arrow" }, String(before), el("span", { "aria-label": "becomes" }, " → "), el("b", {}, String(after)));
const rank = (user) => user.before.rank === null ? "has had it"
  : arrow(whole(user.before.rank), whole(user.after.rank));
const score = (value) => value === null ? "–" : value.toFixed(2);

const ACTIONS = {
  none: "No guard stands at the door.", admit: "The guards would let it in.",
  mend: "The guards would mend it.", quarantine: "The guards would hold it back.",
};
const CONTROL = {
  none: "There is no undefended model to compare with: name the folder of one with the setting 'control'.",
  loading: "The undefended model is being loaded.", ready: "",
  failed: "The undefended model could not be loaded; the log says why.",
};

const capitals = (text) => text.toUpperCase();
const joiner = (text) => text.split(" ").map((word) => word.length > 2 ? `${word[0]}\u200b${word.slice(1)}` : word).join(" ");
const letters = (text) => text.replace(/[aceopxyi]/g, (letter) => LOOKALIKE[letter]);
const borrow = (text, popular) => popular.length ? `${text} ${popular[0].title}` : text;
const repeat = (text) => `${text} ${text} ${text}`;
const TRICKS = [["Capitals", capitals], ["Hidden spaces", joiner], ["Look-alike letters", letters],
  ["Add a popular title", borrow], ["Say it three times", repeat]];
