// Numbers, details and controls of the page; chart.js draws.
const data = JSON.parse(document.getElementById("data").textContent);
// The places of the fields of a node.
const [
  LABEL, TASK, NAME, STATE, CRITICAL, ROW, BEGIN, PHASES, IDEAL_ROW, IDEAL, SLACK, CLOCK, PID, MEMORY, SIZE, REASON,
] = Array(16).keys();
const WAITS = ["wait-for-slot", "wait-for-program"];
const AXIS = 22, LANE = 17, HOST = 22, SLOT = 20;
const byId = (id) => document.getElementById(id);
const style = getComputedStyle(document.documentElement);
const dark = matchMedia("(prefers-color-scheme: dark)");
const shown = { from: 0, to: data.end || 1 };
let colors = {}, patterns = {}, matches = null, pinned = null, scheduled = false;

// --- times -----------------------------------------------------------------------------------------------------
const two = (number) => String(number).padStart(2, "0");
function time(ms) {
  const s = ms / 1000;
  if (s < 0.9995) return s.toFixed(3) + " s";
  if (s < 99.5) return s.toFixed(1) + " s";
  if (s < 120) return Math.round(s) + " s";
  const all = Math.round(s);
  return clock(1000 * all) + (all < 3600 ? " min" : " h");
}
function tickStep(span, most) {
  const steps = [1, 2, 5].map((n) => n * 10 ** Math.floor(Math.log10(span / most)));
  const ofClocks = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000].map((seconds) => seconds * 1000);
  const nice = [...steps, steps[0] * 10, ...ofClocks];
  const isOfClocks = (step) => step < 10e3 || step % 5e3 === 0 && (step < 60e3 || step % 60e3 === 0);
  const fits = (step) => step >= span / most && isOfClocks(step);
  return nice.filter(fits).sort((a, b) => a - b)[0] || 3600e3 * Math.ceil(span / most / 3600e3);
}
function tick(ms, step) {
  const decimals = step < 1000 ? Math.ceil(-Math.log10(step / 1000) - 1e-9) : 0;
  if (data.end < 120e3) return (ms / 1000).toFixed(decimals) + " s";
  return clock(ms) + (decimals ? (ms % 1000 / 1000).toFixed(decimals).slice(1) : "");
}
function clock(ms) {
  const s = Math.floor(ms / 1000 + 1e-6);
  const minutes = Math.floor(s / 60), seconds = two(s % 60);
  return s < 3600 ? minutes + ":" + seconds : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":" + seconds;
}
const age = (s) => s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min"
  : s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " d";
const bytes = (n) => n < 1024 ? n + " B" : n < 1048576 ? (n / 1024).toFixed(1) + " KiB"
  : n < 1073741824 ? (n / 1048576).toFixed(1) + " MiB" : (n / 1073741824).toFixed(1) + " GiB";

// --- bars ------------------------------------------------------------------------------------------------------
// A bar: node, begin, end, phases [number, milliseconds, ...]. Rows are lists of bars in the order of their begins.
const length = (phases) => phases.reduce((sum, value, at) => at % 2 ? sum + value : sum, 0);
const isWait = (phase) => WAITS.includes(data.phases[phase]);
function longest(phases) {
  let best = 0;
  for (let at = 2; at < phases.length; at += 2) if (phases[at + 1] > phases[best + 1]) best = at;
  return phases[best];
}
function withoutWaits(phases) {
  return phases.filter((_, at) => !isWait(phases[at - at % 2]));
}
function rowsOf(count, row, begin, phases) {
  const rows = Array.from({ length: count }, () => []);
  for (const node of data.nodes) {
    if (row(node) === null) continue;
    const parts = phases(node), from = begin(node);
    rows[row(node)].push({ node, from, to: from + length(parts), parts });
  }
  rows.forEach((bars) => bars.sort((a, b) => a.from - b.from));
  return rows;
}
function hatch(slope) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.fillStyle = colors.wait;
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = colors.hatch;
  pen.lineWidth = 1.3;
  for (const x of [-6, 0, 6]) {
    pen.moveTo(x, slope > 0 ? 6 : 0);
    pen.lineTo(x + 6, slope > 0 ? 0 : 6);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}
function readColors() {
  for (const name of ["page", "area", "ink", "soft", "line", "grid", "bad", "edge", "wait", "hatch", ...data.phases]) {
    colors[name] = style.getPropertyValue("--" + name).trim();
  }
  patterns = { "wait-for-slot": hatch(1), "wait-for-program": hatch(-1) };
}
const paint = (phase) => patterns[data.phases[phase]] || colors[data.phases[phase]];

// Returns the place of the first bar that ends after a time; bars of a row do not overlap.
function firstAfter(bars, ms) {
  let [low, high] = [0, bars.length];
  while (low < high) {
    const middle = low + high >> 1;
    if (bars[middle].to < ms) low = middle + 1; else high = middle;
  }
  return low;
}
function fitted(pen, text, room) {
  if (room <= 0) return "";
  if (pen.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = low + high + 1 >> 1;
    if (pen.measureText(text.slice(0, middle) + "…").width <= room) low = middle; else high = middle - 1;
  }
  return low ? text.slice(0, low) + "…" : "";
}

// --- details ---------------------------------------------------------------------------------------------------
function add(parent, kind, text, name) {
  const child = document.createElement(kind);
  child.textContent = text;
  if (name) child.className = name;
  parent.append(child);
  return child;
}
function show(bar, event, chart) {
  const box = byId("details");
  box.hidden = !bar;
  if (!bar) { pinned = null; return; }
  const node = bar.node;
  box.replaceChildren();
  add(box, "b", node[LABEL]);
  add(box, "p", `${node[TASK] ? "task" : "module"} ${node[NAME]}, ${node[STATE]}`, node[STATE] === "failed" ? "bad" : "");
  if (node[REASON]) add(box, "p", node[REASON], "bad");
  const table = add(box, "table", "");
  const line = (name, value) => {
    const row = add(table, "tr", "");
    add(row, "th", name);
    add(row, "td", value);
  };
  line("time", time(length(bar.parts)));
  for (let at = 0; at < bar.parts.length; at += 2) line("– " + data.phases[bar.parts[at]], time(bar.parts[at + 1]));
  line("critical path", node[CRITICAL] ? "yes" : `no, may take ${time(node[SLACK])} longer`);
  if (node[ROW] !== null) {
    const [host, rank, slot] = data.rows[node[ROW]];
    line("place", `${host}, rank ${rank}, slot ${slot}, process ${node[PID]}`);
    line("began", `after ${time(node[BEGIN])}, ${new Date(node[CLOCK] * 1000).toLocaleTimeString()}`);
    if (node[MEMORY]) line("memory", bytes(node[MEMORY]));
  }
  if (node[SIZE]) line("result", bytes(node[SIZE]));
  const wide = box.offsetWidth, high = box.offsetHeight;
  const left = event.clientX + 16 + wide < innerWidth ? event.clientX + 16 : Math.max(4, event.clientX - wide - 16);
  const top = Math.min(event.clientY + 16, innerHeight - high - 8);
  box.classList.toggle("above", event.clientY > innerHeight / 2);
  box.style.left = left + "px";
  box.style.top = Math.max(4, top) + "px";
}

// --- what is shown ---------------------------------------------------------------------------------------------
const charts = [];
function redraw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    charts.forEach((chart) => chart.draw());
  });
}
function clamp(from, to) {
  const end = data.end || 1, span = Math.min(Math.max(to - from, end / 1e5, 0.5), end);
  shown.from = Math.min(Math.max(from, 0), end - span);
  shown.to = shown.from + span;
  redraw();
}
function move(ms) { clamp(shown.from + ms, shown.to + ms); }
function zoom(factor, around = (shown.from + shown.to) / 2) {
  clamp(around - (around - shown.from) * factor, around + (shown.to - around) * factor);
}
function resize() {
  // One gutter, so that times are above each other.
  const gutter = Math.max(10, ...charts.map((chart) => chart.resize()));
  charts.forEach((chart) => { chart.gutter = gutter; });
  redraw();
}
function find() {
  const word = byId("find").value.trim().toLowerCase();
  const has = (node) => (node[LABEL] + "\n" + node[NAME]).toLowerCase().includes(word);
  matches = word ? new Set(data.nodes.filter(has)) : null;
  byId("found").textContent = matches ? matches.size + " found" : "";
  redraw();
}

function ranLines() {
  const rows = rowsOf(data.rows.length, (node) => node[ROW], (node) => node[BEGIN], (node) => node[PHASES]);
  const lines = [];
  let y = 0, host = null;
  data.rows.forEach(([name, rank, slot], row) => {
    if (name !== host) {
      lines.push({ y, height: HOST, text: name });
      y += HOST + 2;
    }
    host = name;
    lines.push({ y, height: SLOT, bars: rows[row], names: [`rank ${rank}, slot ${slot}`, `${rank}.${slot}`] });
    y += SLOT + 1;
  });
  return lines;
}
function bestLines() {
  const work = (node) => withoutWaits(node[PHASES]);
  const rows = rowsOf(data.idealRows, (node) => node[IDEAL_ROW], (node) => node[IDEAL], work);
  // Many rows become a silhouette: where it is high, many workers would be busy.
  const height = Math.min(SLOT, 300 / data.idealRows);
  return rows.map((bars, row) => ({ y: row * height, height, bars }));
}
function start() {
  readColors();
  if (!data.nodes.length) return;
  const one = data.breaks.length === 0;
  if (data.rows.length) {
    const list = [data.list, `list schedule on ${data.rows.length} slots: ${time(data.list)}`];
    const critical = [data.ideal, `critical path: ${time(data.ideal)}`];
    charts.push(new Chart("ran", ranLines(), one ? [critical, list] : [], true));
  }
  charts.push(new Chart("best", bestLines(), [[data.ideal, `ends after ${time(data.ideal)}`]], false));
  if (data.begin) byId("begin").textContent = "begun " + new Date(data.begin * 1000).toLocaleString();
  byId("in").onclick = () => zoom(0.5);
  byId("out").onclick = () => zoom(2);
  byId("all").onclick = () => clamp(0, data.end);
  byId("chain").onclick = () => clamp(0, data.ideal * 1.02);
  byId("find").oninput = find;
  addEventListener("resize", resize);
  addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT") return;
    const step = (shown.to - shown.from) / 5;
    const keys = {
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => clamp(0, data.end),
      ArrowLeft: () => move(-step), ArrowRight: () => move(step), Escape: () => show(null),
    };
    if (keys[event.key] && !event.ctrlKey && !event.metaKey) keys[event.key]();
  });
  dark.addEventListener("change", () => { readColors(); redraw(); });
  resize();
}
start();
