"use strict";
// Sorts the report's tables and filters its alerts. The page is whole without it. It only moves, hides and counts what
// the template wrote, and puts texts in as text: they are an attacker's.
document.documentElement.classList.add("scripted");
addEventListener("DOMContentLoaded", () => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, textContent, more) => Object.assign(document.createElement(tag), { textContent, ...more });
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const table = one("#alerts-table");
  const panel = one("#filters");
  const plot = one("#time");
  const chosen = one(".chosen");
  const more = one("#more");

  /** Puts the bodies of a table, one an item, in order of a column; a minus before its name: the largest first. */
  function sort(sorted, key) {
    const heads = all("th[data-sort]", sorted);
    const head = heads.find((each) => each.dataset.sort === key.replace(/^-/, ""));
    if (!head) return;
    const written = key === sorted.dataset.written;
    const down = key[0] === "-" && !written ? -1 : 1;
    const items = [...sorted.tBodies].map((body, place) => {
      body.dataset.place ??= place;
      const cell = body.rows[0].cells[head.cellIndex];
      return { body, place: +body.dataset.place, text: cell.textContent, value: +cell.dataset.value };
    });
    const by = (a, b) => down * (isNaN(a.value) ? compare(a.text, b.text) : a.value - b.value);
    items.sort((a, b) => (!written && by(a, b)) || a.place - b.place);
    sorted.append(...items.map((item) => item.body));
    marked(sorted, key);
  }

  function marked(sorted, key) {
    all("th[data-sort]", sorted).forEach((head) => {
      const name = head.dataset.sort;
      head.ariaSort = { [name]: "ascending", [`-${name}`]: "descending" }[key] ?? null;
    });
  }

  all("table[data-written]").forEach((sorted) => {
    all("th[data-sort]", sorted).forEach((head) => {
      const button = make("button", head.textContent, { type: "button" });
      button.addEventListener("click", () => {
        const down = head.ariaSort ? head.ariaSort === "ascending" : "first" in head.dataset; // the largest number
        const key = (down ? "-" : "") + head.dataset.sort;
        sorted === table ? change({ sort: key }) : sort(sorted, key);
      });
      head.replaceChildren(button);
    });
    marked(sorted, sorted.dataset.written);
  });

  const FACETS = ["severity", "kind", "verdict", "status", "zone", "host", "technique", "incident"];
  const TEXTS = ["text", "since", "until"];
  const SEVERITIES = ["critical", "high", "medium", "low"];
  const ends = (a, b) => [...new Set([a, b, `${a} → ${b}`])];
  const lines = (text) => text.split("\n").filter(Boolean);
  const alerts = [...(table?.tBodies ?? [])].map((body) => {
    const { ts, severity, kind, verdict, status, srcZone, dstZone, src, dst, techniques, incident } = body.dataset;
    const told = { verdict: lines(verdict), incident: lines(incident) };
    const ofIt = { severity: [severity], kind: [kind], status: [status], ...told };
    const ofEnds = { zone: ends(srcZone, dstZone), host: ends(src, dst) };
    return { body, ts, values: { ...ofIt, ...ofEnds, technique: lines(techniques) } };
  });
  const alertOf = new Map(alerts.map((alert) => [alert.body, alert]));
  const untouched = () => ({
    ...Object.fromEntries(TEXTS.map((name) => [name, ""])),
    ...Object.fromEntries(FACETS.map((facet) => [facet, new Set(facet === "status" ? ["open"] : [])])),
    sort: table.dataset.written,
  });
  let state = null;

  function matches(alert, counting) {
    const minute = alert.ts.slice(0, 16);
    if ((state.since && minute < state.since) || (state.until && minute >= state.until)) return false;
    const has = (facet) => alert.values[facet].some((value) => state[facet].has(value));
    return FACETS.every((facet) => facet === counting || !state[facet].size || has(facet));
  }

  /** Alerts that hold all words, and none that has a minus before it. */
  function found() {
    const words = state.text.toLowerCase().split(/\s+/).filter((word) => word && word !== "-");
    if (!words.length) return alerts;
    return alerts.filter((alert) => {
      alert.text ??= alert.body.textContent.toLowerCase();
      return words.every((word) => (word[0] === "-" ? !alert.text.includes(word.slice(1)) : alert.text.includes(word)));
    });
  }

  /** How many alerts each value of a facet would show, with the rest of the filter as it is. */
  function counted(hits, facet) {
    const counts = new Map();
    hits.filter((alert) => matches(alert, facet)).forEach((alert) => {
      alert.values[facet].forEach((value) => counts.set(value, (counts.get(value) ?? 0) + 1));
    });
    return counts;
  }

  function address() {
    const plain = untouched();
    const parts = new URLSearchParams();
    TEXTS.filter((name) => state[name]).forEach((name) => parts.append(name, state[name]));
    FACETS.forEach((facet) => {
      const values = [...state[facet]];
      if (values.join() === [...plain[facet]].join()) return;
      (values.length ? values : ["any"]).forEach((value) => parts.append(facet, value));
    });
    if (state.sort !== plain.sort) parts.append("sort", state.sort);
    return parts.toString();
  }

  function fromAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    state = untouched();
    [...TEXTS, "sort"].forEach((name) => { state[name] = parts.get(name) ?? state[name]; });
    FACETS.filter((facet) => parts.has(facet)).forEach((facet) => {
      state[facet] = new Set(parts.getAll(facet).filter((value) => value && value !== "any"));
    });
  }

  let sortedBy = table?.dataset.written;
  let limit = 0;

  /** Lays out so many of the alerts that match; counts are of all of them. */
  function show(most = +table.dataset.screen) {
    const hits = found();
    const shown = new Set(hits.filter((alert) => matches(alert)));
    if (sortedBy !== state.sort) sort(table, (sortedBy = state.sort));
    let room = (limit = most);
    [...table.tBodies].forEach((body) => { body.hidden = !shown.has(alertOf.get(body)) || room-- <= 0; });
    table.classList.remove("fresh");
    const words = `${shown.size.toLocaleString("en")} of ${alerts.length.toLocaleString("en")} alerts`;
    all(".shown").forEach((place) => { place.textContent = words; });
    one("#nothing").hidden = shown.size > 0;
    more.hidden = shown.size <= limit;
    more.textContent = `Show more; ${shown.size - limit} are left`;
    controls(Object.fromEntries(FACETS.map((facet) => [facet, counted(hits, facet)])));
    if (plot) drawn(shown);
  }

  function controls(counts) {
    for (const input of all("input[data-name]", panel)) {
      if (input.value !== state[input.dataset.name]) input.value = state[input.dataset.name]; // the cursor stays
    }
    all("button[data-value]", panel).forEach((button) => {
      const { facet } = button.parentElement.dataset;
      button.setAttribute("aria-pressed", state[facet].has(button.dataset.value));
      button.lastChild.textContent = counts[facet].get(button.dataset.value) ?? 0;
    });
    all("select option:not(:first-child)", panel).forEach((option) => {
      const { facet } = option.parentElement.dataset;
      option.textContent = `${option.value} (${counts[facet].get(option.value) ?? 0})`;
    });
    for (const field of all("select, input[data-facet]", panel)) [field.value = ""] = state[field.dataset.facet];
    all("td[data-zone]").forEach((cell) => {
      const count = counts.zone.get(cell.dataset.zone) ?? 0;
      one(".count", cell).textContent = count || "·";
      cell.classList.toggle("none", !count);
      cell.classList.toggle("selected", state.zone.has(cell.dataset.zone));
    });
  }

  /** The bars of alerts over time follow the filter; the part of the time line that is chosen is marked. */
  function drawn(shown) {
    const { start, bin, bins } = plot.dataset;
    const counts = new Map();
    shown.forEach(({ ts }) => {
      const place = Math.floor((Date.parse(ts) - start) / bin);
      counts.set(place, (counts.get(place) ?? 0) + 1);
    });
    const filtered = address() !== "";
    const bars = all(".alerts .bar", plot);
    const peak = Math.max(1, ...bars.map((bar) => +bar.dataset.count));
    bars.forEach((bar) => {
      const count = filtered ? counts.get(+bar.dataset.bin) ?? 0 : +bar.dataset.count;
      const height = 24 * Math.sqrt(Math.min(count / peak, 1));
      bar.setAttribute("y", 26 - height);
      bar.setAttribute("height", height);
    });
    const share = (minute) => Math.min(Math.max((Date.parse(`${minute}Z`) - start) / (bin * bins), 0), 1);
    const [left, right] = [state.since ? share(state.since) : 0, state.until ? share(state.until) : 1];
    chosen.hidden = !state.since && !state.until;
    chosen.style.left = `${100 * left}%`;
    chosen.style.width = `${100 * Math.max(right - left, 0.003)}%`;
  }

  function change(changes) {
    Object.assign(state, changes);
    history.replaceState(null, "", `#${address() || "alerts"}`);
    show();
  }

  /** A fragment is a view of the alerts, or a place: what is folded or filtered out there is shown. */
  function go() {
    if (table && (location.hash === "" || location.hash.includes("="))) {
      fromAddress();
      show();
      if (location.hash) one("#alerts").scrollIntoView();
      return;
    }
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    target.hidden = false;
    const folded = target.closest("details") ?? one(":scope > .why details", target);
    if (folded) folded.open = true;
    target.scrollIntoView();
  }

  /** Buttons and choices for the values there are, the most frequent first; from one zone to another after zones. */
  function fill() {
    const values = (facet) => {
      const counts = [...counted(alerts, facet)].sort((a, b) => b[1] - a[1] || compare(a[0], b[0]));
      const known = counts.map(([value]) => value).filter((value) => facet !== "host" || !value.includes(" → "));
      if (facet === "severity") return SEVERITIES.filter((name) => known.includes(name));
      return known.sort((a, b) => a.includes(" → ") - b.includes(" → "));
    };
    all("[role=group]", panel).forEach((group) => values(group.dataset.facet).forEach((value) => {
      const button = make("button", `${value} `, { type: "button" });
      button.dataset.value = value;
      button.append(make("span", ""));
      button.addEventListener("click", () => {
        const pressed = new Set(state[group.dataset.facet]);
        if (!pressed.delete(value)) pressed.add(value);
        change({ [group.dataset.facet]: pressed });
      });
      group.append(button);
    }));
    all("select, datalist", panel).forEach((list) => {
      list.append(...values(list.dataset.facet).map((value) => make("option", value, { value })));
    });
  }

  /** Dragging over the time line, or a click on it, chooses its bins. */
  function brush() {
    const area = one(".brush", plot);
    const { start, bin, bins } = plot.dataset;
    let from = null;
    const choose = (event) => {
      const box = area.getBoundingClientRect();
      const place = (x) => Math.min(Math.max(Math.floor(((x - box.left) / box.width) * bins), 0), bins - 1);
      const minute = (number) => new Date(+start + number * bin).toISOString().slice(0, 16);
      const [first, last] = [from, event.clientX].sort((a, b) => a - b).map(place);
      change({ since: minute(first), until: minute(last + 1) });
    };
    area.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("a")) return;
      from = event.clientX;
      area.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    area.addEventListener("pointermove", (event) => {
      if (from !== null && Math.abs(event.clientX - from) > 3) choose(event);
    });
    area.addEventListener("pointerup", (event) => {
      if (from !== null) choose(event);
      from = null;
    });
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    if (event.key === "/") {
      event.preventDefault(); // or it would be typed
      one("#search").focus();
    }
    const step = { j: 1, k: -1 }[event.key];
    const shown = [...table.tBodies].filter((body) => !body.hidden);
    if (!step || !shown.length) return;
    const at = shown.indexOf(document.activeElement.closest("#alerts-table > tbody"));
    one("summary", shown[at < 0 ? 0 : Math.min(Math.max(at + step, 0), shown.length - 1)]).focus();
  }

  /** Unfolded details get a button to copy each id. */
  document.addEventListener("toggle", ({ target }) => all("code.id:not(:has(+ .copy))", target).forEach((code) => {
    const button = make("button", "copy", { type: "button", className: "copy", ariaLabel: `copy ${code.textContent}` });
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(code); // where the clipboard is refused, Ctrl-C is left to do
      await navigator.clipboard?.writeText(code.textContent).then(() => { button.textContent = "copied"; }, () => {});
    });
    code.after(button);
  }), true);

  if (table) {
    state = untouched();
    fill();
    panel.addEventListener("input", ({ target: { dataset: { name }, value } }) => name && change({ [name]: value }));
    panel.addEventListener("change", ({ target: { dataset: { facet }, value } }) => {
      if (facet) change({ [facet]: new Set(value ? [value] : []) });
    });
    one("#reset").addEventListener("click", () => change(untouched()));
    more.addEventListener("click", () => show(limit + +table.dataset.screen));
    addEventListener("beforeprint", () => show(Infinity));
    addEventListener("afterprint", () => show());
    document.addEventListener("keydown", pressed);
    if (plot) brush();
    if (location.hash && !location.hash.includes("=")) show();
  }
  addEventListener("hashchange", go);
  go();
});
