// Who decided what.

import { call, complaint, el, shown, table, when } from "./parts.js";

export async function audit(place, left) {
  const rows = el("div", {}), foot = el("div", { class: "foot" });
  place.append(el("h1", {}, "Audit log"),
    el("p", { class: "soft" }, "Newest first. Keys appear by name and id; nobody can change a line."), rows, foot);
  const lines = [];
  const load = async (before) => {
    foot.replaceChildren();
    try {
      const page = await call("GET", `/v1/audit?limit=50${before ? `&before=${before}` : ""}`);
      if (left.aborted) return;
      lines.push(...page.rows);
      rows.replaceChildren(table("Who did what", ["When", "Who", "What", "To what", "Details"], lines.map(line),
        "Nothing was done yet."));
      if (page.before !== null) {
        foot.append(el("button", { type: "button", onclick: () => load(page.before) }, "Show older"));
      }
    } catch (error) {
      if (!left.aborted) foot.replaceChildren(complaint(error));
    }
  };
  await load(null);
}

const line = (row) => [when(row.time), [row.name ? [shown(row.name), " "] : null, el("code", {}, shown(row.who))],
  shown(row.action), el("code", {}, shown(row.subject)),
  Object.entries(row.detail).map(([name, value], n) => [n ? ", " : "", shown(`${name}: ${value}`)])];
