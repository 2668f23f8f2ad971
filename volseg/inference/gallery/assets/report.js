"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const report = JSON.parse($("cases").textContent);
  const cases = report.cases;
  const OPACITY = 0.45; // of the mask in the viewer
  const table = document.querySelector(".cases");
  const bodies = cases.map((_, index) => $(`c${index}`));
  const visible = () => [...table.tBodies].filter((body) => !body.hidden);
  const indexOf = (body) => Number(body.id.slice(1));

  // ---- marks: in memory, and in the browser's storage where a local file may use it
  const place = `volseg-report-${report.id}`;
  let marks = new Map();
  let isKept = true;
  let isExported = true;
  try {
    marks = new Map(JSON.parse(localStorage.getItem(place) || "[]"));
    localStorage.setItem(place, JSON.stringify([...marks]));
  } catch {
    isKept = false;
  }

  function setMark(index, mark) {
    const c = cases[index];
    if (marks.get(c.key) === mark) marks.delete(c.key);
    else marks.set(c.key, mark);
    isExported = false;
    if (isKept) {
      try {
        localStorage.setItem(place, JSON.stringify([...marks]));
      } catch {
        isKept = false;
      }
    }
    showMark(index);
    showProgress();
    if (group.mark.size) applyFilter();
  }

  function showMark(index) {
    const mark = marks.get(cases[index].key);
    for (const button of bodies[index].querySelectorAll("[data-mark]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
    }
  }

  function showProgress() {
    const count = (mark) => cases.filter((c) => marks.get(c.key) === mark).length;
    const accepted = count("accepted");
    const rejected = count("rejected");
    const kept = isKept ? "" : " · kept until the page is closed";
    $("progress").textContent = marks.size
      ? `${accepted} accepted, ${rejected} rejected of ${cases.length}${kept}`
      : "";
    for (const chip of $("chips").querySelectorAll("[data-group='mark']")) {
      const n = chip.value === "unmarked" ? cases.length - accepted - rejected : count(chip.value);
      chip.querySelector("span").textContent = n;
    }
  }

  addEventListener("beforeunload", (event) => {
    if (!isKept && !isExported && marks.size) event.preventDefault();
  });

  // ---- filters: any of a group, all groups
  const group = { status: new Set(), flag: new Set(), mark: new Set() };

  function addChips() {
    const counts = new Map();
    const add = (kind, value) =>
      counts.set(`${kind}\n${value}`, (counts.get(`${kind}\n${value}`) || 0) + 1);
    cases.forEach((c) => c.status === "done" || add("status", c.status));
    cases.forEach((c) => c.flags.forEach((flag) => add("flag", flag)));
    ["accepted", "rejected", "unmarked"].forEach((mark) => counts.set(`mark\n${mark}`, 0));
    let last = "";
    for (const [name, count] of counts) {
      const [kind, value] = name.split("\n");
      if (last && last !== kind) $("chips").append(document.createElement("i"));
      last = kind;
      const chip = document.createElement("button");
      const number = document.createElement("span");
      number.textContent = count;
      Object.assign(chip, { type: "button", value });
      chip.dataset.group = kind;
      chip.setAttribute("aria-pressed", "false");
      chip.append(value, number);
      $("chips").append(chip);
    }
  }

  function pressChip(chip) {
    const chosen = group[chip.dataset.group];
    if (!chosen.delete(chip.value)) chosen.add(chip.value);
    chip.setAttribute("aria-pressed", String(chosen.has(chip.value)));
    applyFilter();
  }

  function applyFilter() {
    const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    cases.forEach((c, index) => {
      const text = `${c.name} ${c.reason || ""}`.toLowerCase();
      bodies[index].hidden = !(
        wanted.every((word) => text.includes(word)) &&
        (!group.status.size || group.status.has(c.status)) &&
        (!group.flag.size || c.flags.some((flag) => group.flag.has(flag))) &&
        (!group.mark.size || group.mark.has(marks.get(c.key) || "unmarked"))
      );
    });
    $("nothing").hidden = visible().length > 0;
  }

  function resetFilter() {
    $("filter").value = "";
    Object.values(group).forEach((chosen) => chosen.clear());
    $("chips").querySelectorAll("button").forEach((chip) => chip.setAttribute("aria-pressed", "false"));
    applyFilter();
  }

  // ---- sorting: what has no value stays at the end either way
  const compareText = new Intl.Collator(undefined, { numeric: true }).compare;

  function valueOf(c, column) {
    if (column === "mark") return marks.get(c.key) ?? null;
    if (column === "flags") return c.flags.length ? `${9 - c.flags.length} ${c.flags.join(" ")}` : null;
    if (column.startsWith("ml:")) return c.volumes[column.slice(3)] ?? null;
    return c[column] ?? null;
  }

  function sortBy(head) {
    const column = head.dataset.column;
    const isDown = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach((th) => th.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    const order = cases.map((c, index) => ({ value: valueOf(c, column), index }));
    order.sort((a, b) => {
      if (a.value === null || b.value === null) {
        return (a.value === null) - (b.value === null) || a.index - b.index;
      }
      const by = typeof a.value === "number" ? a.value - b.value : compareText(a.value, b.value);
      return (isDown ? -by : by) || a.index - b.index;
    });
    table.append(...order.map(({ index }) => bodies[index]));
  }

  // ---- opening a case: its pictures are decoded only then
  let current = -1;
  let opened = -1;

  function select(index, { focus = true } = {}) {
    if (current >= 0) bodies[current].querySelector(".row").removeAttribute("aria-current");
    current = index;
    const row = bodies[index].querySelector(".row");
    row.setAttribute("aria-current", "true");
    if (focus) row.querySelector(".name button").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function close() {
    if (opened < 0) return;
    const body = bodies[opened];
    body.classList.remove("open");
    body.querySelector(".name button").setAttribute("aria-expanded", "false");
    body.querySelectorAll("figure").forEach((figure) => figure.remove());
    opened = -1;
  }

  function open(index) {
    close();
    opened = index;
    const body = bodies[index];
    const stored = body.querySelector(".planes noscript");
    if (stored) stored.insertAdjacentHTML("afterend", stored.textContent);
    body.classList.add("open");
    body.querySelector(".name button").setAttribute("aria-expanded", "true");
    const holder = body.querySelector(".viewer .plate");
    if (holder) showVolumes(index, holder);
    body.querySelector(".row").scrollIntoView({ block: "nearest" });
    body.querySelector(".detail").scrollIntoView({ block: "nearest" });
  }

  const toggle = (index) => (opened === index ? close() : open(index));

  function step(by) {
    const shown = visible().map(indexOf);
    if (!shown.length) return;
    const at = shown.indexOf(current);
    const next = at < 0 ? shown[0] : shown[Math.min(shown.length - 1, Math.max(0, at + by))];
    select(next);
    if (opened >= 0 && opened !== next) open(next);
  }

  // ---- the viewer: made when the first case is opened, and used again for the next
  let viewer = null;

  async function makeViewer() {
    const packed = Uint8Array.from(atob($("viewer").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    const box = document.createElement("div");
    const canvas = document.createElement("canvas");
    box.style.cssText = "position:absolute;inset:0";
    canvas.setAttribute("aria-label", "Slices and rendering of the volume");
    box.append(canvas);
    document.querySelector(".open .viewer .plate").append(box);
    const nv = new window.niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.75, 0.82, 0.88, 0.5],
      crosshairWidth: 0.4,
      crosshairWidthUnit: "percent",
      dragAndDropEnabled: false,
      fontColor: [0.79, 0.82, 0.85, 1],
      isOrientationTextVisible: true,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      multiplanarLayout: 2,
      multiplanarShowRender: 1,
      sagittalNoseLeft: true,
      show3Dcrosshair: false,
    });
    await nv.attachToCanvas(canvas, true);
    return { nv, box };
  }

  async function showVolumes(index, holder) {
    const wait = holder.querySelector(".wait");
    try {
      wait.textContent = "Opening the viewer …";
      wait.hidden = false;
      await new Promise((resume) => setTimeout(resume, 60));
      if (opened !== index) return;
      viewer ??= makeViewer();
      const { nv, box } = await viewer;
      if (opened !== index) return;
      const shown = report.pictures[index];
      const [image, labels] = $(`v${index}`).textContent.split("\n");
      const { NVImage } = window.niivue;
      const back = await NVImage.loadFromBase64({ base64: image, name: "image.nii.gz", colormap: "gray" });
      const front = await NVImage.loadFromBase64({ base64: labels, name: "labels.nii.gz" });
      if (opened !== index) return;
      front.setColormapLabel(labelColours(shown.classes));
      front.opacity = OPACITY;
      holder.append(box);
      nv.volumes.slice().reverse().forEach((volume) => nv.removeVolume(volume));
      nv.addVolume(back);
      nv.addVolume(front);
      nv.scene.crosshairPos = nv.mm2frac(shown.focus);
      showMask();
      nv.updateGLVolume();
      wait.hidden = true;
      holder.dataset.shown = "true";
    } catch (error) {
      viewer = null;
      wait.hidden = false;
      wait.textContent = `The viewer needs WebGL 2 (${error.message || error}). The pictures show the same case.`;
    }
  }

  function labelColours(classes) {
    const map = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const { value, name, colour } of classes) {
      map.R.push(parseInt(colour.slice(1, 3), 16));
      map.G.push(parseInt(colour.slice(3, 5), 16));
      map.B.push(parseInt(colour.slice(5, 7), 16));
      map.A.push(255);
      map.I.push(value);
      map.labels.push(name);
    }
    return map;
  }

  async function showMask() {
    if (!viewer) return;
    const { nv } = await viewer;
    if (nv.volumes.length > 1) nv.setOpacity(1, table.classList.contains("no-mask") ? 0 : OPACITY);
  }

  function toggleMask() {
    table.classList.toggle("no-mask");
    showMask();
  }

  // ---- export
  function cell(value) {
    const text = value === null || value === undefined ? "" : String(value);
    // A spreadsheet would run a text that begins like a formula.
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  function exportMarks() {
    const heads = ["name", "mark", "status", "flags", "seconds", "source", "target", "reason"];
    const lines = [[...heads, ...report.classes.map((name) => `${name} (mL)`)]];
    for (const body of table.tBodies) {
      const c = cases[indexOf(body)];
      lines.push([
        c.name, marks.get(c.key), c.status, c.flags.join("; "), c.seconds, c.source, c.target,
        c.reason, ...report.classes.map((name) => c.volumes[name]),
      ]);
    }
    const text = lines.map((line) => line.map(cell).join(",")).join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }));
    link.download = "marks.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    isExported = true;
  }

  // ---- events
  table.addEventListener("click", (event) => {
    const head = event.target.closest("th[data-column]");
    if (head) return sortBy(head);
    const row = event.target.closest(".row");
    if (!row) return undefined;
    const index = indexOf(row.parentElement);
    const mark = event.target.closest("[data-mark]");
    select(index, { focus: !mark });
    return mark ? setMark(index, mark.dataset.mark) : toggle(index);
  });
  table.addEventListener("focusin", (event) => {
    const row = event.target.closest(".row");
    if (row && indexOf(row.parentElement) !== current) select(indexOf(row.parentElement), { focus: false });
  });
  $("chips").addEventListener("click", (event) => {
    const chip = event.target.closest("button");
    if (chip) pressChip(chip);
  });
  $("filter").addEventListener("input", applyFilter);
  $("reset").addEventListener("click", resetFilter);
  $("export").addEventListener("click", exportMarks);
  $("help").addEventListener("click", () => $("keys").showModal());

  const actions = {
    j: () => step(1),
    arrowdown: () => step(1),
    k: () => step(-1),
    arrowup: () => step(-1),
    a: () => current >= 0 && setMark(current, "accepted"),
    r: () => current >= 0 && setMark(current, "rejected"),
    m: toggleMask,
    e: exportMarks,
    "/": () => $("filter").focus(),
    "?": () => $("keys").showModal(),
    escape: close,
  };
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
      if (event.target === $("filter")) {
        if (event.key === "Escape") $("filter").blur();
        return;
      }
      const action = actions[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      event.stopPropagation(); // the viewer has keys of its own
      action();
    },
    true,
  );

  addChips();
  cases.forEach((_, index) => showMark(index));
  showProgress();
})();
