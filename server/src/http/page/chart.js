// One course over the last minutes: lines of samples, one each second, the newest at the right.

// Room for the marks of the scale, left of the lines.
const SCALE_WIDTH = 50;

class Chart {
  // `lines`: [{name, column, scale}], the first one is the main one. `format` makes [number, unit] of a value. `log` for values of many
  // magnitudes; `max` for those that have one; `floor` is the least top of the others.
  constructor({ title, lines, format, log = false, max = null, floor = 1 }) {
    Object.assign(this, { title, lines, format, log, max, floor, at: null });
    this.keys = lines.map(({ name }, i) => {
      const value = element('span');
      const key = element('span', { class: `key ${['main', 'other', 'third'][i]}` }, ...(name ? [element('i', {}, name)] : []), value);
      return { key, value };
    });
    this.when = element('span', { class: 'when' });
    this.plot = svg('svg', { class: 'plot', role: 'img', tabindex: '0' });
    this.node = element('figure', {},
      element('figcaption', {}, element('b', {}, title), ...this.keys.map(({ key }) => key), this.when), this.plot);
    this.plot.addEventListener('pointermove', (event) => this.point(event));
    this.plot.addEventListener('pointerleave', () => this.look(null));
    this.plot.addEventListener('blur', () => this.look(null));
    this.plot.addEventListener('keydown', (event) => this.step(event));
  }

  // The course from `Series`, which all charts share.
  show(series) {
    this.series = series;
    this.draw();
  }

  point(event) {
    const { left, width } = this.plot.getBoundingClientRect();
    const part = (event.clientX - left - SCALE_WIDTH) / (width - SCALE_WIDTH);
    this.look(Math.round((1 - part) * (this.series.length - 1)));
  }

  step(event) {
    const steps = { ArrowLeft: 1, ArrowRight: -1, PageUp: 60, PageDown: -60, Home: Infinity, End: -Infinity };
    if (event.key === 'Escape') return this.look(null);
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.look((this.at ?? 0) + step);
  }

  // Shows the values of so many samples ago; null for now.
  look(ago) {
    if (!this.series) return;
    const length = this.series.columns[this.lines[0].column].length;
    this.at = ago === null ? null : Math.min(Math.max(0, ago), Math.max(0, length - 1));
    this.draw();
  }

  value(line, ago) {
    const column = this.series.columns[line.column];
    return column[column.length - 1 - ago] ?? null;
  }

  // The lowest and highest value of the plot.
  range() {
    const values = this.lines.flatMap((line) => this.series.columns[line.column].filter((v) => v !== null && v !== undefined));
    let most = 0;
    for (const value of values) most = Math.max(most, value);
    if (this.max !== null) return [0, this.max];
    if (!this.log) return [0, roundUp(Math.max(most * 1.02, this.floor))];
    let least = Infinity;
    for (const value of values) if (value > 0) least = Math.min(least, value);
    if (least === Infinity) [least, most] = [100, 1000];
    const low = 10 ** Math.floor(Math.log10(least));
    return [low, Math.max(low * 10, 10 ** Math.ceil(Math.log10(most * 1.02)))];
  }

  draw() {
    if (!this.series) return;
    const { plot, series } = this;
    const width = plot.clientWidth || 400;
    const height = plot.clientHeight || 128;
    const [top, bottom] = [13, height - 16];
    const [low, high] = this.range();
    const y = this.log
      ? (v) => bottom - (bottom - top) * Math.log(Math.max(v, low) / low) / Math.log(high / low)
      : (v) => bottom - (bottom - top) * Math.min(v, high) / high;
    const x = (ago) => width - 1 - ago * (width - 2 - SCALE_WIDTH) / (series.length - 1);
    plot.setAttribute('viewBox', `0 0 ${width} ${height}`);

    const parts = [];
    const texts = [];
    for (const mark of this.marks(low, high)) {
      const at = Math.round(y(mark)) + 0.5;
      parts.push(svg('path', { class: 'grid', d: `M${SCALE_WIDTH} ${at}H${width}` }));
      if (mark > 0) texts.push(svg('text', { x: SCALE_WIDTH - 8, y: at + 3.5, 'text-anchor': 'end' }, Format.round(this.format(mark))));
    }
    const minutes = Math.round(series.length * series.seconds / 60);
    for (const part of [1, 0.5]) {
      const text = `${minutes * part} min ago`;
      texts.push(svg('text', { x: SCALE_WIDTH + (width - SCALE_WIDTH) * (1 - part), y: height - 3, 'text-anchor': part === 1 ? 'start' : 'middle' }, text));
    }
    texts.push(svg('text', { x: width, y: height - 3, 'text-anchor': 'end' }, 'now'));
    for (const [i, line] of [...this.lines.entries()].reverse()) {
      const values = series.columns[line.column];
      const path = pathOf(values, (index) => x(values.length - 1 - index), y);
      if (i === 0 && !this.log && path.whole) {
        parts.push(svg('path', { class: 'area', d: `${path.d}V${bottom}H${x(values.length - 1).toFixed(1)}Z` }));
      }
      parts.push(svg('path', { class: ['main', 'other', 'third'][i], d: path.d }));
    }
    if (this.at !== null) {
      const at = Math.round(x(this.at)) + 0.5;
      parts.push(svg('path', { class: 'cross', d: `M${Math.min(at, width - 0.5)} ${top}V${bottom}` }));
    }
    plot.replaceChildren(...parts, ...texts);
    this.tell();
  }

  marks(low, high) {
    if (!this.log) return [0, high / 2, high];
    const marks = [];
    for (let mark = low; mark <= high * 1.01; mark *= 10) marks.push(mark);
    return marks;
  }

  // Puts the chart into words.
  tell() {
    const ago = this.at ?? 0;
    const now = this.lines.map((line) => Format.text(this.format(this.value(line, ago))));
    this.keys.forEach(({ value }, i) => say(value, now[i]));
    say(this.when, this.at === null ? '' : Format.clock(this.series.until - ago * this.series.seconds * 1000));
    const when = this.at === null ? 'now' : `at ${this.when.textContent}`;
    const said = this.lines.map(({ name, column }, i) => {
      let [least, most] = [Infinity, -Infinity];
      for (const v of this.series.columns[column]) {
        if (v === null || v === undefined) continue;
        [least, most] = [Math.min(least, v), Math.max(most, v)];
      }
      const span = most < least ? 'no values yet'
        : `from ${Format.text(this.format(least))} to ${Format.text(this.format(most))}`;
      return `${name || 'value'} ${now[i]} ${when}, ${span}`;
    });
    this.plot.setAttribute('aria-label', `${this.title}: ${said.join('; ')}. Arrow keys move through time.`);
  }
}

// The next of 1, 2, 4, 5, 6, 8 and 10 times a power of ten: each has a half that reads well.
function roundUp(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 5, 6, 8, 10].find((step) => step * power >= n * 0.9999) * power;
}

// The line through values; it is broken where there is none.
function pathOf(values, x, y) {
  let d = '';
  let whole = values.length > 0;
  let pen = 'M';
  values.forEach((value, i) => {
    if (value === null || value === undefined) {
      whole = false;
      pen = 'M';
      return;
    }
    d += `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    // A value with none beside it is a dot.
    if (pen === 'M') d += 'h.01';
    pen = 'L';
  });
  return { d: d || 'M0 0', whole };
}
