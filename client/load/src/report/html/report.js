"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // The kinds of operations, and all of them together.
  const KIND_COLORS = 12;
  const WIDTH = 1180, LEFT = 74, RIGHT = 18, TOP = 10;

  // Numbers, in the form in which people read them.
  const digits = (value, most) => value.toLocaleString("en-US", { maximumFractionDigits: most });
  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e9) return digits(value / 1e9, 2) + "G";
    if (size >= 1e6) return digits(value / 1e6, 2) + "M";
    if (size >= 1e4) return digits(value / 1e3, 1) + "k";
    return digits(value, size < 10 ? 2 : 0);
  };
  const time = (us) => {
    if (us === null || us === undefined) return "-";
    if (us < 999.5) return digits(us, us < 99.95 ? 1 : 0) + " \u00b5s";
    if (us < 999500) return digits(us / 1e3, us < 9995 ? 2 : us < 99950 ? 1 : 0) + " ms";
    return digits(us / 1e6, us < 1e8 ? 2 : 0) + " s";
  };
  const clock = (seconds) => {
    const whole = Math.floor(seconds), two = (value) => String(value).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60);
  };
  // `inverse` is 1 / (1 - quantile).
  const percentile = (inverse) => {
    if (inverse <= 1) return "0%";
    const places = Math.max(0, Math.ceil(Math.log10(inverse) - 2 - 1e-9));
    return (100 - 100 / inverse).toFixed(places) + "%";
  };

  // Elements. Text is always set as textContent, so nothing in the data is parsed as HTML.
  const svg = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const html = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Axes.
  const linearTicks = (low, high, count) => {
    const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * ([1, 2, 5, 10].find((by) => by * power >= raw * 0.999) || 10);
    const ticks = [];
    for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-9); at++) ticks.push(at * step + 0);
    return ticks;
  };
  const timeTicks = (low, high) => {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
    const step = steps.find((by) => (high - low) / by <= 10) || (high - low) / 8;
    const ticks = [];
    for (let at = 0; at * step <= high + 1e-9; at++) ticks.push(at * step);
    return ticks;
  };
  const logTicks = (low, high) => {
    const ticks = [], decades = Math.log10(high / low);
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high * 1.0001; power++) {
      for (const by of decades < 2.2 ? [1, 2, 5] : [1]) {
        const at = by * 10 ** power;
        if (at >= low * 0.9999 && at <= high * 1.0001) ticks.push(at);
      }
    }
    return ticks;
  };
  const scale = (axis, from, to) => {
    const map = axis.log ? Math.log : (value) => value;
    const low = map(axis.low), span = map(axis.high) - low || 1;
    return (value) => from + (map(axis.log ? Math.max(value, axis.low) : value) - low) / span * (to - from);
  };
  const spread = (values, log) => {
    let low = Infinity, high = -Infinity;
    for (const value of values) if (value !== null && (!log || value > 0)) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low > high) return log ? [1, 10] : [0, 1];
    return log ? [low / 1.25, high * 1.25] : [0, high > 0 ? high * 1.06 : 1];
  };

  // Draws a plot in `box`. `options`:
  // - series: {name, color, dash, points, steps, area, bars, fixed}. A point is [x, y], or [from, y, to] with steps or bars.
  // - x, y: {log, low, high, ticks, format, label}
  // - stops: where the cursor stops, as {x, title, rows(series): [[name, text]]}, in the order of x unless `unsorted`.
  const plot = (box, options) => {
    const hidden = new Set();
    let logY = options.y.log;
    const readout = html("div", "readout");
    readout.hidden = true;
    readout.setAttribute("role", "status");
    const legend = html("div", "legend"), frame = html("div");
    if (!options.bare) {
      options.series.forEach((one, index) => {
        const button = html("button"), line = html("i", one.dash ? "dashed" : "");
        button.type = "button";
        line.style.borderColor = "var(--" + one.color + ")";
        button.append(line, one.name);
        button.setAttribute("aria-pressed", "true");
        button.addEventListener("click", () => {
          hidden.has(index) ? hidden.delete(index) : hidden.add(index);
          button.setAttribute("aria-pressed", String(!hidden.has(index)));
          draw();
        });
        legend.append(button);
      });
      if (options.switchable) {
        const button = html("button", "switch", "Linear axis");
        button.type = "button";
        button.addEventListener("click", () => {
          logY = !logY;
          button.textContent = logY ? "Linear axis" : "Log axis";
          draw();
        });
        legend.append(button);
      }
      box.append(legend);
    }
    box.append(frame);
    frame.style.position = "relative";

    const draw = () => {
      // On a small screen the plot gets narrower, so that its text keeps its size.
      const BOTTOM = options.x.label ? 34 : 24;
      const width = Math.max(340, Math.min(WIDTH, box.clientWidth || WIDTH));
      const height = options.height, shown = options.series.filter((_, index) => !hidden.has(index));
      const values = function* () { for (const one of shown) for (const [, value] of one.points) yield value; };
      const [low, high] = spread(values(), logY);
      const y = { log: logY, low, high }, x = options.x;
      const toX = scale(x, LEFT, width - RIGHT), toY = scale(y, height - BOTTOM, TOP);
      const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: "0", "aria-label": options.label });
      root.append(svg("title", {}, options.label));
      for (const tick of logY ? logTicks(low, high) : linearTicks(low, high, height < 150 ? 2 : 5)) {
        const at = toY(tick);
        root.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
        root.append(svg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, options.y.format(tick)));
      }
      let free = -Infinity;
      for (const tick of x.ticks(x.low, x.high)) {
        const at = toX(tick);
        root.append(svg("line", { class: "grid", x1: at, x2: at, y1: TOP, y2: height - BOTTOM }));
        const text = x.format(tick), half = text.length * 3.4;
        if (at - half < free || at + half > width) continue;
        free = at + half + 8;
        root.append(svg("text", { x: at, y: height - BOTTOM + 17, "text-anchor": "middle" }, text));
      }
      root.append(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }));
      if (x.label) root.append(svg("text", { x: width - RIGHT, y: height - 3, "text-anchor": "end" }, x.label));

      for (const one of shown) {
        const color = "var(--" + one.color + ")";
        if (one.bars) {
          const path = one.points.filter(([, value]) => value > 0).map(([start, value, end]) => {
            const left = toX(start), right = Math.max(toX(end) - 0.5, left + 1), top = Math.min(toY(value), height - BOTTOM - 2);
            return `M${left.toFixed(1)} ${height - BOTTOM}V${top.toFixed(1)}H${right.toFixed(1)}V${height - BOTTOM}Z`;
          });
          root.append(svg("path", { d: path.join(""), style: `fill:${color};opacity:.85` }));
          continue;
        }
        let path = "", area = "", pen = "M";
        for (const [at, value, end] of one.points) {
          if (value === null) { pen = "M"; continue; }
          const left = toX(at).toFixed(1), top = toY(value).toFixed(1);
          path += pen === "M" ? `M${left} ${top}` : one.steps ? `H${left}V${top}` : `L${left} ${top}`;
          if (one.steps) path += `H${toX(end).toFixed(1)}`;
          pen = "L";
        }
        if (one.area && path) {
          const first = one.points[0][0], last = one.points[one.points.length - 1][2];
          area = `${path}H${toX(last).toFixed(1)}V${height - BOTTOM}H${toX(first).toFixed(1)}Z`;
          root.append(svg("path", { d: area, style: "fill:var(--fill)" }));
        }
        root.append(svg("path", { class: "curve", d: path, style: `stroke:${color}`, "stroke-dasharray": one.dash ? "6 4" : "none" }));
        if (!one.steps && !one.fixed && one.points.length <= 40 && options.dots) {
          for (const [at, value, mark] of one.points) {
            if (value === null) continue;
            const ring = mark === "marked" ? "fill:var(--card);stroke:var(--c4);stroke-width:2.5" : `fill:${color}`;
            root.append(svg("circle", { cx: toX(at), cy: toY(value), r: mark === "marked" ? 4.5 : 3, style: ring }));
          }
        }
      }

      const cursor = svg("line", { class: "cursor", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
      root.append(cursor);
      const leave = () => { readout.hidden = true; cursor.setAttribute("visibility", "hidden"); };
      const show = (stop) => {
        if (!stop) return leave();
        const at = toX(stop.x);
        cursor.setAttribute("x1", at);
        cursor.setAttribute("x2", at);
        cursor.setAttribute("visibility", "visible");
        readout.replaceChildren(html("b", "", stop.title));
        for (const [name, text] of stop.rows(shown)) {
          const row = html("span");
          row.append(html("em", "", name), html("strong", "", text));
          readout.append(row);
        }
        readout.hidden = false;
        const ratio = frame.clientWidth / width, room = frame.clientWidth - readout.offsetWidth - 4;
        const right = at * ratio + 14;
        readout.style.left = Math.max(0, right > room ? at * ratio - readout.offsetWidth - 14 : right) + "px";
        readout.style.top = TOP + "px";
      };
      let index = null;
      const stops = options.stops;
      const nearest = (event) => {
        const bounds = root.getBoundingClientRect(), ratio = width / bounds.width;
        const left = (event.clientX - bounds.left) * ratio;
        let low = 0, high = stops.length - 1;
        if (options.unsorted) {
          let best = 0;
          stops.forEach((stop, at) => { if (Math.abs(toX(stop.x) - left) < Math.abs(toX(stops[best].x) - left)) best = at; });
          return best;
        }
        while (low < high) {
          const middle = (low + high) >> 1;
          (toX(stops[middle].x) + toX(stops[middle + 1].x)) / 2 < left ? low = middle + 1 : high = middle;
        }
        return low;
      };
      root.addEventListener("pointermove", (event) => { index = nearest(event); show(stops[index]); });
      root.addEventListener("pointerleave", leave);
      root.addEventListener("blur", leave);
      root.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === "Escape") return leave();
        if (!step) return;
        event.preventDefault();
        index = index === null ? 0 : Math.max(0, Math.min(stops.length - 1, index + step));
        show(stops[index]);
      });
      leave();
      frame.replaceChildren(root, readout);
    };
    draw();
    let last = box.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(box.clientWidth - last) > 4) { last = box.clientWidth; draw(); }
    }).observe(box);
  };
  const place = (name, options) => {
    const box = document.getElementById("plot-" + name);
    if (box) plot(box, options);
  };

  // Throughput and latency over time.
  const rows = data.intervals.map(([start, seconds, rate, failed, dropped, inFlight, ...latency]) =>
    ({ start, end: start + Math.max(seconds, 1e-3), rate, failed, dropped, inFlight, latency }));
  if (rows.length) {
    const end = rows[rows.length - 1].end;
    const onAxis = (seconds) => end < 60 ? digits(seconds, 1) + " s" : clock(seconds);
    const x = { low: 0, high: end, ticks: timeTicks, format: onAxis };
    const when = (row) => `${onAxis(row.start)} to ${onAxis(row.end)}`;
    const middle = (row) => (row.start + row.end) / 2;
    const names = ["p50", "p90", "p99", "p99.9", "max"];
    const throughput = [{ name: "completed", color: "c0", steps: true, area: true, points: rows.map((row) => [row.start, row.rate, row.end]) }];
    if (data.requested !== null) {
      throughput.push({ name: "requested", color: "c5", dash: true, fixed: true, points: [[0, data.requested], [end, data.requested]] });
    }
    const [lowest, highest] = rows.reduce(([low, high], row) => [Math.min(low, row.rate), Math.max(high, row.rate)], [Infinity, 0]);
    const stops = rows.map((row) => ({
      x: middle(row), title: when(row),
      rows: () => [["completed", short(row.rate) + "/s"], ["failed", digits(row.failed, 0)], ["dropped", digits(row.dropped, 0)], ["in flight", digits(row.inFlight, 0)]],
    }));
    place("throughput", {
      label: `Throughput over time: ${short(lowest)} to ${short(highest)} operations per second over ${onAxis(end)}`,
      height: 250, x, y: { log: false, format: short }, series: throughput, stops,
    });
    if (rows.some((row) => row.failed || row.dropped)) {
      const box = html("div", "plot");
      document.getElementById("plot-throughput").append(box);
      plot(box, {
        label: "Operations failed and dropped in each interval", height: 120, x, y: { log: false, format: short }, stops,
        series: [
          { name: "failed", color: "c4", bars: true, points: rows.map((row) => [row.start, row.failed, (row.start + row.end) / 2]) },
          { name: "dropped", color: "c2", bars: true, points: rows.map((row) => [(row.start + row.end) / 2, row.dropped, row.end]) },
        ],
      });
    }
    place("latency", {
      label: "Response time percentiles over time: " + names.join(", "),
      height: 300, x, y: { log: true, format: time }, switchable: true, dots: true,
      series: names.map((name, index) => ({ name, color: "c" + index, points: rows.map((row) => [middle(row), row.latency[index]]) })),
      stops: rows.map((row) => ({
        x: middle(row), title: when(row), rows: (shown) => shown.map((one) => [one.name, time(row.latency[names.indexOf(one.name)])]),
      })),
    });
  }

  // The percentile spectrum. The x axis is 1 / (1 - quantile), so the maximum of `count` operations is at `count`.
  if (data.kinds.length) {
    const series = [], most = Math.max(10, ...data.kinds.map((kind) => kind.count));
    data.kinds.forEach((kind, index) => {
      const color = "k" + index % KIND_COLORS;
      for (const part of ["response", "service"]) {
        if (!kind[part]) continue;
        const points = kind[part].map(([quantile, us]) => [Math.min(kind.count, 1 / Math.max(1 - quantile, 1 / kind.count)), us]);
        const name = data.kinds.some((one) => one.service) ? `${kind.kind}, ${part}` : kind.kind;
        series.push({ name, color, dash: part === "service", points });
      }
    });
    const valueAt = (points, at) => {
      const found = points.find(([inverse]) => inverse >= at * 0.9999);
      return found ? found[1] : null;
    };
    const stops = [];
    for (let step = 0; step <= 200; step++) stops.push(most ** (step / 200));
    place("spectrum", {
      label: "Latency at each percentile, for " + data.kinds.map((kind) => kind.kind).join(", "),
      height: 340, switchable: true,
      x: { log: true, low: 1, high: most, format: percentile, label: "percentile", ticks: (low, high) => [1, 2, ...logTicks(10, Math.max(10, high))] },
      y: { log: true, format: time }, series,
      stops: stops.map((x) => ({ x, title: "p" + percentile(x).slice(0, -1), rows: (shown) => shown.map((one) => [one.name, time(valueAt(one.points, x))]) })),
    });
  }

  // The sweep. A ring marks a run in which operations failed or were dropped.
  const points = data.sweep || [];
  if (points.length) {
    const fields = [["p50", "p50_us", "c0"], ["p99", "p99_us", "c2"], ["p99.9", "p99.9_us", "c3"]];
    place("sweep", {
      label: `Response time against throughput, ${points.length} runs`, height: 320, switchable: true, dots: true, unsorted: true,
      x: { low: 0, high: Math.max(...points.map((point) => point.achieved)) * 1.06 || 1, format: short, label: "operations per second", ticks: (low, high) => linearTicks(low, high, 8) },
      y: { log: true, format: time },
      series: fields.map(([name, field, color]) => ({ name, color, points: points.map((point) => [point.achieved, point[field], point.dropped || point.failed ? "marked" : ""]) })),
      stops: points.map((point) => ({
        x: point.achieved, title: short(point.achieved) + "/s",
        rows: (shown) => [
          ...(point.requested === null ? [] : [["requested", short(point.requested) + "/s"]]),
          ...shown.map((one) => [one.name, time(point[fields.find(([name]) => name === one.name)[1]])]),
          ["dropped", digits(point.dropped, 0)], ["failed", digits(point.failed, 0)],
        ],
      })),
    });
    if (points.some((point) => point.dropped || point.failed)) {
      document.getElementById("plot-sweep").append(html("p", "subtitle", "A ring marks a run in which operations were dropped or failed."));
    }
  }

  // The theme is that of the system until the button is pressed.
  const button = document.getElementById("theme"), root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  system.addEventListener("change", name);
  button.hidden = false;
  name();
})();
