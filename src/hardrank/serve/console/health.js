// Health and load: what runs, how fast it answers, what the guards did.

import { call, chart, complaint, duration, el, ms, shown, table, tile, whole } from "./parts.js";

const EVERY = 2000, KEPT = 150, WINDOW = 10;

export async function health(place, left, about) {
  const tiles = el("dl", { class: "tiles" }), charts = el("div", { class: "charts" });
  const tables = el("div", { class: "columns" }), wrong = el("div", {});
  place.append(el("h1", {}, "Health and load"), wrong, tiles, charts, tables);
  const seen = [];
  const look = async () => {
    if (left.aborted) return;
    if (!document.hidden) {
      try {
        const now = await call("GET", "/v1/overview");
        if (left.aborted) return;
        seen.push({ time: Date.now() / 1000, now });
        while (seen.length > KEPT) seen.shift();
        wrong.replaceChildren();
        about(now);
        draw(now, seen, tiles, charts, tables);
      } catch (error) {
        if (left.aborted) return;
        wrong.replaceChildren(complaint(error));
      }
    }
    setTimeout(look, EVERY);
  };
  await look();
}

function draw(now, seen, tiles, charts, tables) {
  const stored = now.stored;
  tiles.replaceChildren(
    tile("Model", now.ready ? "Answers" : "Is loading", now.ready
      ? `${now.model}, bundle ${now.bundle}` : "popularity answers meanwhile", now.ready ? "good" : "warn"),
    tile("Store", now.store ? "Answers" : "Is away", now.store
      ? "events and decisions are kept" : "reads go on from memory, writes wait", now.store ? "good" : "bad"),
    tile("Guards", now.guarded ? "At the door" : "None", now.guarded
      ? "every listing passes them" : "every listing goes live as it comes", now.guarded ? "good" : "warn"),
    tile("Waiting for you", stored ? whole(stored.waiting) : "…", "listings in quarantine"),
    tile("Live items", whole(now.live_items), stored ? `${whole(stored.events)} events in the store` : ""),
    tile("Running for", duration(now.uptime), `version ${now.version}`),
  );
  const { rates, middle, slow } = series(seen);
  const width = Math.max(280, (charts.firstChild || charts).clientWidth - 30);
  charts.replaceChildren(
    chart("Recommendations a second", [{ name: "now", kind: "a", points: rates }],
      { unit: "/s", digits: 1, width, empty: "The line begins in a few seconds." }),
    chart("Time to answer", [{ name: "half within", kind: "a", points: middle },
      { name: "99 of 100 within", kind: "b", points: slow }],
    { unit: "ms", digits: 1, width, empty: "Nobody asked for recommendations in the last minutes." }),
  );
  tables.replaceChildren(
    table("Recommendations by who answered", ["Source", "Answers"],
      Object.entries(now.answers).map(([source, n]) => [SOURCES[source] || source, whole(n)]),
      "No recommendation since the start."),
    table("Listings by what became of them", ["What", "Guard", "Listings"],
      now.listings.map(([state, guard, n]) => [STATES[state] || state, guard ? shown(guard) : "–", whole(n)]),
      "No listing came in since the start."),
    table("Decisions of people", ["Decision", "Cases"],
      Object.entries(now.decisions).map(([action, n]) => [action, whole(n)]),
      "Nobody decided a case since the start."),
    table("Requests by route", ["Route", "Requests", "Refused", "Failed", "Half within", "99 % within"],
      now.routes.slice(0, 12).map((r) => [el("code", {}, r.route.replace(":path", "")), whole(r.requests), whole(r.refused),
        whole(r.failed), ms(r.p50_ms), ms(r.p99_ms)]), "No requests yet."),
  );
}

const SOURCES = { model: "the model", popularity: "popularity (the model was not ready or too late)",
  remembered: "remembered answers" };
const STATES = { live: "went live", quarantined: "held back", deleted: "deleted" };

// Differences of the counts over the last seconds before each look.
function series(seen) {
  const rates = [], middle = [], slow = [];
  for (let n = 1; n < seen.length; n++) {
    const then = seen.slice(0, n).reverse().find((s) => seen[n].time - s.time >= WINDOW) || seen[0];
    const time = seen[n].time, bins = since(then.now.recommend, seen[n].now.recommend);
    const asked = bins.reduce((sum, bin) => sum + bin.count, 0);
    const seconds = time - then.time;
    rates.push([time, asked >= 0 ? asked / seconds : null]);
    middle.push([time, asked > 0 ? within(bins, asked * 0.5) : null]);
    slow.push([time, asked > 0 ? within(bins, asked * 0.99) : null]);
  }
  return { rates, middle, slow };
}

const since = (before, now) => now.map((bin, n) => ({ ...bin, count: bin.count - (before[n] ? before[n].count : 0) }));

function within(bins, wanted) {
  let below = 0, start = 0;
  for (const { le_ms: end, count } of bins) {
    if (count && below + count >= wanted) {
      return end === null ? start : start + (end - start) * (wanted - below) / count;
    }
    below += count;
    if (end !== null) start = end;
  }
  return start;
}
