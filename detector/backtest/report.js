"use strict";
// Makes the report's tables sort and its alerts filter. The page is whole without it. It only moves, hides and counts
// what the template wrote, and puts texts in as text: they are an attacker's.
document.documentElement.classList.add("scripted");
addEventListener("DOMContentLoaded", () => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  };
  const collator = new Intl.Collator("en", { numeric: true });
  const table = one("#alerts-table");
  const panel = one("#filters");
  const plot = one("#time");
  const more = one("#more");
  const STRONGEST = "-rare"; // the order of the template
  const SEVERITIES = ["critical", "high", "medium", "low"];
  const SCREEN = +(table?.dataset.screen ?? 0);

  // --- sorting ---

  const cellText = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent;
  };
  const compare = (a, b) => (isNaN(a) || isNaN(b) || a === "" || b === "" ? collator.compare(a, b) : a - b);

  /** Puts the bodies of a table (one an item) in order of a column; null: as they were written. */
  function order(sorted, column, descending) {
    const bodies = [...sorted.tBodies];
    const keys = new Map(bodies.map((body, place) => {
      body.dataset.place ??= place;
      return [body, column === null ? body.dataset.place : cellText(body.rows[0], column)];
    }));
    const written = (a, b) => a.dataset.place - b.dataset.place;
    bodies.sort((a, b) => (descending ? -1 : 1) * compare(keys.get(a), keys.get(b)) || written(a, b));
    sorted.append(...bodies);
  }

  function marked(sorted, key) {
    all("th[data-sort]", sorted).forEach((head) => {
      const direction = { [head.dataset.sort]: "ascending", ["-" + head.dataset.sort]: "descending" }[key];
      direction ? head.setAttribute("aria-sort", direction) : head.removeAttribute("aria-sort");
    });
  }

  function sort(sorted, key) {
    const heads = all("th[data-sort]", sorted);
    const head = heads.find((each) => each.dataset.sort === key.replace(/^-/, ""));
    if (!head) return;
    order(sorted, key === sorted.dataset.written ? null : head.cellIndex, key !== sorted.dataset.written && key[0] === "-");
    marked(sorted, key);
  }

  all("table[data-written]").forEach((sorted) => {
    all("th[data-sort]", sorted).forEach((head) => {
      const button = make("button", head.textContent, { type: "button" });
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const down = now ? now === "ascending" : "first" in head.dataset; // numbers begin with the largest
        const key = (down ? "-" : "") + head.dataset.sort;
        if (sorted === table) change({ sort: key });
        else sort(sorted, key);
      });
      head.replaceChildren(button);
    });
    marked(sorted, sorted.dataset.written);
  });

  // --- what can be filtered ---

  const ends = (a, b) => [...new Set([a, b, `${a} → ${b}`])];
  const alerts = [...(table?.tBodies ?? [])].map((body) => {
    const said = body.dataset;
    return {
      body,
      ts: said.ts,
      text: "",
      values: {
        severity: [said.severity],
        kind: [said.kind],
        status: [said.status],
        zone: ends(said.srcZone, said.dstZone),
        host: ends(said.src, said.dst),
        technique: said.techniques ? said.techniques.split("\n") : [],
        incident: said.incident ? [said.incident] : [],
      },
    };
  });
  const of = new Map(alerts.map((alert) => [alert.body, alert]));
  const FACETS = ["severity", "kind", "status", "zone", "host", "technique", "incident"];
  const plain = () => ({
    text: "", since: "", until: "", sort: STRONGEST,
    ...Object.fromEntries(FACETS.map((facet) => [facet, new Set(facet === "status" ? ["open"] : [])])),
  });
  let state = plain();

  function matches(alert, counting) {
    const chosen = (facet) => facet === counting || !state[facet].size || alert.values[facet].some((value) => state[facet].has(value));
    const minute = alert.ts.slice(0, 16);
    return FACETS.every(chosen) && (!state.since || minute >= state.since) && (!state.until || minute < state.until);
  }

  /** Alerts that hold all words, and none that has a minus before it. */
  function found() {
    const words = state.text.toLowerCase().split(/\s+/).filter((word) => word && word !== "-");
    if (!words.length) return alerts;
    alerts.forEach((alert) => { alert.text ||= alert.body.textContent.toLowerCase(); });
    return alerts.filter(({ text }) => words.every((word) => (word[0] === "-" ? !text.includes(word.slice(1)) : text.includes(word))));
  }

  // --- the view in the address ---

  function address() {
    const parts = new URLSearchParams();
    ["text", "since", "until"].forEach((name) => state[name] && parts.append(name, state[name]));
    FACETS.filter((facet) => facet !== "status").forEach((facet) => state[facet].forEach((value) => parts.append(facet, value)));
    const status = [...state.status];
    if (status.join() !== "open") (status.length ? status : ["any"]).forEach((value) => parts.append("status", value));
    if (state.sort !== STRONGEST) parts.append("sort", state.sort);
    return parts.toString();
  }

  function fromAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    state = plain();
    ["text", "since", "until", "sort"].forEach((name) => { state[name] = parts.get(name) ?? state[name]; });
    FACETS.filter((facet) => parts.has(facet)).forEach((facet) => {
      state[facet] = new Set(parts.getAll(facet).filter((value) => value && value !== "any"));
    });
  }

  // --- showing it ---

  let sortedBy = STRONGEST;
  let limit = SCREEN;
  function show() {
    const hits = found();
    const shown = new Set(hits.filter((alert) => matches(alert)));
    if (sortedBy !== state.sort) sort(table, (sortedBy = state.sort));
    let room = limit;
    [...table.tBodies].forEach((body) => { body.hidden = !shown.has(of.get(body)) || room-- <= 0; });
    table.classList.remove("fresh");
    const words = `${shown.size.toLocaleString("en")} of ${alerts.length.toLocaleString("en")} alerts`;
    all(".shown").forEach((place) => { place.textContent = words; });
    one("#nothing").hidden = shown.size > 0;
    more.hidden = shown.size <= limit;
    more.textContent = `Show ${Math.min(SCREEN, shown.size - limit)} more of ${shown.size - limit}`;
    controls(Object.fromEntries(FACETS.map((facet) => [facet, counted(hits, facet)])));
    drawn(shown);
  }

  function room(size) {
    limit = size;
    show();
  }

  /** How many alerts each value of a facet would show, with the rest of the filter as it is. */
  function counted(hits, facet) {
    const counts = new Map();
    hits.filter((alert) => matches(alert, facet)).forEach((alert) => {
      alert.values[facet].forEach((value) => counts.set(value, (counts.get(value) ?? 0) + 1));
    });
    return counts;
  }

  function controls(counts) {
    all("input[data-name]", panel).forEach((input) => { if (input.value !== state[input.dataset.name]) input.value = state[input.dataset.name]; });
    all("button[data-value]", panel).forEach((button) => {
      const facet = button.parentElement.dataset.facet;
      button.setAttribute("aria-pressed", state[facet].has(button.dataset.value));
      button.lastChild.textContent = counts[facet].get(button.dataset.value) ?? 0;
    });
    all("option[value]:not([value=''])", panel).forEach((option) => {
      const facet = option.closest("[data-facet]").dataset.facet;
      option.textContent = `${option.dataset.label ?? option.value} (${counts[facet].get(option.value) ?? 0})`;
    });
    all("select[data-facet]", panel).forEach((select) => { select.value = [...state[select.dataset.facet]][0] ?? ""; });
    one("input[data-facet]", panel).value = [...state.host][0] ?? "";
    all("td[data-zone]").forEach((cell) => {
      const count = counts.zone.get(cell.dataset.zone) ?? 0;
      one(".count", cell).textContent = count || "·";
      cell.classList.toggle("none", !count);
      cell.classList.toggle("chosen", state.zone.has(cell.dataset.zone));
    });
  }

  /** The bars of alerts over time follow the filter; so does the part of the time line that is chosen. */
  function drawn(shown) {
    if (!plot) return;
    const { start, bin, bins } = plot.dataset;
    const counts = new Map();
    shown.forEach(({ ts }) => {
      const place = Math.floor((Date.parse(ts) - start) / bin);
      counts.set(place, (counts.get(place) ?? 0) + 1);
    });
    const bars = all(".alerts .bar", plot);
    const filtered = address() !== "";
    const peak = Math.max(1, ...bars.map((bar) => +bar.dataset.count));
    bars.forEach((bar) => {
      const count = filtered ? counts.get(+bar.dataset.bin) ?? 0 : +bar.dataset.count;
      const height = 24 * Math.sqrt(Math.min(count / peak, 1));
      bar.setAttribute("y", 26 - height);
      bar.setAttribute("height", height);
    });
    const share = (minute, otherwise) => (minute ? Math.min(Math.max((Date.parse(minute + "Z") - start) / (bin * bins), 0), 1) : otherwise);
    const [left, right] = [share(state.since, 0), share(state.until, 1)];
    chosen.hidden = !state.since && !state.until;
    chosen.style.left = `${100 * left}%`;
    chosen.style.width = `${100 * Math.max(right - left, 0.003)}%`;
  }

  function change(changes) {
    Object.assign(state, changes);
    history.replaceState(null, "", "#" + (address() || "alerts"));
    room(SCREEN);
  }

  /** A fragment is a view of the alerts, or a place: what is folded or filtered out there is shown. */
  function go() {
    if (table && location.hash.includes("=")) {
      fromAddress();
      room(SCREEN);
      one("#alerts").scrollIntoView();
      return;
    }
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    target.hidden = false;
    const folded = target.closest("details") ?? one(":scope > .why details", target);
    if (folded) folded.open = true;
    target.scrollIntoView();
  }

  // --- the controls ---

  /** Texts of a facet, the most frequent first. */
  const values = (facet) => [...counted(alerts, facet)].sort((a, b) => b[1] - a[1] || collator.compare(a[0], b[0])).map(([value]) => value);
  function fill() {
    all("[role=group][data-facet]", panel).forEach((group) => {
      const { facet } = group.dataset;
      const known = values(facet);
      const ordered = facet === "severity" ? SEVERITIES.filter((name) => known.includes(name)) : known;
      ordered.forEach((value) => {
        const button = make("button", value + " ", { type: "button", "data-value": value, "aria-pressed": "false" });
        button.append(make("span", ""));
        button.addEventListener("click", () => change({ [facet]: toggled(state[facet], value) }));
        group.append(button);
      });
    });
    all("select[data-facet], datalist[data-facet]", panel).forEach((list) => {
      const kinds = list.matches("datalist") ? [0] : [0, 1];
      kinds.forEach((pairs) => values(list.dataset.facet).filter((value) => value.includes(" → ") == pairs).slice(0, 300).forEach((value) => {
        const option = make("option", value, { value });
        if (list.dataset.facet === "incident") option.dataset.label = `incident ${value}`;
        list.append(option);
      }));
    });
  }

  function toggled(set, value) {
    const other = new Set(set);
    if (!other.delete(value)) other.add(value);
    return other;
  }

  let chosen = null;
  function brush() {
    const area = one(".brush", plot);
    chosen = one(".chosen", plot);
    let from = null;
    const edges = (event) => {
      const box = area.getBoundingClientRect();
      const { start, bin, bins } = plot.dataset;
      const place = (x) => Math.min(Math.max(Math.floor(((x - box.left) / box.width) * bins), 0), bins - 1);
      const [first, last] = [place(Math.min(from, event.clientX)), place(Math.max(from, event.clientX))];
      const minute = (number) => new Date(+start + number * bin).toISOString().slice(0, 16);
      return { since: minute(first), until: minute(last + 1) };
    };
    area.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("a")) return;
      from = event.clientX;
      area.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    area.addEventListener("pointermove", (event) => {
      if (from !== null && Math.abs(event.clientX - from) > 3) change(edges(event));
    });
    area.addEventListener("pointerup", (event) => {
      if (from !== null) change(edges(event));
      from = null;
    });
  }

  function keys(event) {
    const typing = event.target.closest("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      one("#search").focus();
    }
    const step = { j: 1, k: -1 }[event.key];
    if (!step) return;
    const shown = [...table.tBodies].filter((body) => !body.hidden);
    const at = shown.indexOf(document.activeElement.closest("#alerts-table > tbody"));
    const next = shown[at < 0 ? 0 : Math.min(Math.max(at + step, 0), shown.length - 1)];
    if (next) one("summary", next).focus();
  }

  /** Unfolded details get a button to copy each id. */
  document.addEventListener("toggle", (event) => {
    all("code.id:not(.copied)", event.target).forEach((code) => {
      code.classList.add("copied");
      const button = make("button", "copy", { type: "button", class: "copy", "aria-label": "copy " + code.textContent });
      button.addEventListener("click", async () => {
        getSelection().selectAllChildren(code);
        await navigator.clipboard?.writeText(code.textContent).catch(() => document.execCommand("copy"));
        button.textContent = "copied";
      });
      code.after(button);
    });
  }, true);

  if (table) {
    fill();
    panel.addEventListener("input", ({ target }) => target.dataset.name && change({ [target.dataset.name]: target.value }));
    panel.addEventListener("change", ({ target }) => target.dataset.facet && change({ [target.dataset.facet]: new Set(target.value ? [target.value] : []) }));
    one("#reset").addEventListener("click", () => change(plain()));
    document.addEventListener("keydown", keys);
    more.addEventListener("click", () => room(limit + SCREEN));
    addEventListener("beforeprint", () => room(Infinity));
    addEventListener("afterprint", () => room(SCREEN));
    if (plot) brush();
    show();
  }
  addEventListener("hashchange", go);
  go();
});
