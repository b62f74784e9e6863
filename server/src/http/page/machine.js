// A machine, drawn as the protocol that it is.

// Beyond this a drawing says less than the table does.
const DRAWN_STATES_MAX = 40;
const DRAWN_ARROWS_MAX = 120;
const NAME_WIDTH_MAX = 168;
const SCALE_MIN = 0.8;

const Measure = (() => {
  const context = document.createElement('canvas').getContext('2d');
  const family = getComputedStyle(document.body).fontFamily;
  const width = (font) => (text) => {
    context.font = `${font} ${family}`;
    return Math.ceil(context.measureText(text).width);
  };
  return { name: width('600 13px'), label: width('11.5px') };
})();

// A name that fits into a state, and its width.
function fit(name) {
  if (Measure.name(name) <= NAME_WIDTH_MAX) return name;
  const letters = [...name];
  while (letters.length > 1 && Measure.name(letters.join('') + '…') > NAME_WIDTH_MAX) letters.pop();
  return letters.join('') + '…';
}

const isFinal = (state) => state.next.length === 0 && state.timeout_ms == null;

// What a machine is, apart from its numbers: only if that changes it is drawn anew.
function shapeOf({ name, prefix, initial, states }) {
  return JSON.stringify([name, prefix, initial, states.map((s) => [s.name, s.next, s.timeout_ms, s.timeout_next])]);
}

class MachineView {
  constructor(machine, width) {
    this.shape = shapeOf(machine);
    this.width = width;
    this.keys = element('span');
    this.refused = element('span');
    this.numbers = new Map();
    this.cells = new Map();
    const heading = element('h3', {}, machine.name);
    const about = element('p', {}, element('span', { class: 'mono' }, `${machine.prefix}*`), ' · ', this.keys, ' · ', this.refused);
    this.node = element('article', { class: 'machine' }, element('header', {}, heading, about));
    const drawing = this.draw(machine);
    if (drawing) {
      this.node.append(element('div', {
        class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Machine ${machine.name}, drawn`,
      }, drawing));
    }
    this.table = element('details', drawing ? {} : { open: '' }, element('summary', {}, 'As a table'),
      element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Machine ${machine.name}, as a table` },
        this.rows(machine)));
    this.node.append(this.table);
    this.show(machine);
  }

  // Shows the numbers of now.
  show(machine) {
    say(this.keys, `${Format.count(machine.keys)} ${machine.keys === 1 ? 'key' : 'keys'}`);
    say(this.refused, `${Format.count(machine.refused)} refused ${machine.refused === 1 ? 'move' : 'moves'}`);
    for (const state of machine.states) {
      say(this.cells.get(state.name), Format.count(state.keys));
      const drawn = this.numbers.get(state.name);
      if (!drawn) continue;
      say(drawn.count, Format.text(Format.short(state.keys)));
      drawn.group.classList.toggle('none', !state.keys);
      const width = machine.keys ? drawn.width * state.keys / machine.keys : 0;
      drawn.fill.setAttribute('width', width.toFixed(1));
      say(drawn.title, `${state.name}: ${Format.count(state.keys)} keys. ${drawn.about}`);
    }
  }

  draw(machine) {
    const arrows = machine.states.reduce((sum, s) => sum + s.next.length + (s.timeout_ms == null ? 0 : 1), 0);
    if (machine.states.length > DRAWN_STATES_MAX || arrows > DRAWN_ARROWS_MAX) return null;
    const states = new Map(machine.states.map((state) => [state.name, {
      next: state.next,
      timeout: state.timeout_ms == null ? null : { next: state.timeout_next, label: Format.timeout(state.timeout_ms) },
      width: Math.max(72, Measure.name(fit(state.name)) + 26),
    }]));
    const input = { initial: machine.initial, states };
    let plan = Layout.layoutMachine(input, Measure.label, false);
    // A little too wide is better small than downwards, or scrolled.
    if (plan.width * SCALE_MIN > this.width) {
      const down = Layout.layoutMachine(input, Measure.label, true);
      if (down.width < plan.width) plan = down;
    }
    const scale = Math.min(1, Math.max(SCALE_MIN, this.width / plan.width));
    const [width, height] = [Math.ceil(plan.width), Math.ceil(plan.height)];
    const picture = svg('svg', {
      viewBox: `0 0 ${width} ${height}`, width: Math.round(width * scale), height: Math.round(height * scale), role: 'img',
      'aria-label': inWords(machine),
    });
    for (const arrow of plan.arrows) picture.append(...this.arrow(arrow));
    picture.append(...this.entry(plan.entry));
    for (const arrow of plan.arrows) if (arrow.label) picture.append(...this.label(arrow));
    for (const box of plan.states) picture.append(this.state(box, machine.states.find(({ name }) => name === box.name)));
    return picture;
  }

  arrow({ start, path, end, pointing, timed, from, to }) {
    const p = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
    const d = `M${p(start)}` + path.map(({ kind, points }) => kind + points.map(p).join(' ')).join('');
    return [
      svg('path', { class: timed ? 'timed' : 'move', d, 'data-from': from, 'data-to': to }),
      svg('path', { class: 'head', d: headAt(end, pointing) }),
    ];
  }

  entry({ from, to, pointing }) {
    return [
      svg('circle', { class: 'dot', cx: from[0], cy: from[1], r: 4 }),
      svg('path', { class: 'move', d: `M${from.join(' ')}L${to.join(' ')}` }),
      svg('path', { class: 'head', d: headAt(to, pointing) }),
    ];
  }

  label({ label: { x, y, width, height }, text }) {
    return [
      svg('rect', { class: 'behind', x, y, width, height }),
      svg('text', { class: 'label', x: x + width / 2, y: y + height / 2 + 4 }, text),
    ];
  }

  state({ name, x, y, width, height }, state) {
    const middle = x + width / 2;
    const centre = y + height / 2;
    const fill = svg('rect', { class: 'fill', x: x + 1, y: y + 1, height: height - 2, rx: 6 });
    const count = svg('text', { class: 'count', x: middle, y: centre + 14 });
    const title = svg('title');
    const group = svg('g', { class: 'state', 'data-state': name }, title,
      svg('rect', { class: 'box', x, y, width, height, rx: 7 }), fill);
    if (isFinal(state)) group.append(svg('rect', { class: 'inner', x: x + 3, y: y + 3, width: width - 6, height: height - 6, rx: 4.5 }));
    group.append(svg('rect', { class: 'box hollow', x, y, width, height, rx: 7 }),
      svg('text', { class: 'name', x: middle, y: centre - 3 }, fit(name)), count);
    this.numbers.set(name, { count, fill, group, title, width: width - 2, about: waysOf(state) });
    return group;
  }

  // The same as a table.
  rows(machine) {
    const rows = machine.states.map((state) => {
      const count = element('td', { class: 'n' });
      this.cells.set(state.name, count);
      const notes = [state.name === machine.initial && 'initial', isFinal(state) && 'final'].filter(Boolean).join(', ');
      const timeout = state.timeout_ms == null ? '' : `after ${Format.timeout(state.timeout_ms)} to ${state.timeout_next}`;
      return element('tr', {}, element('th', { scope: 'row' }, state.name + (notes ? ` (${notes})` : '')), count,
        element('td', {}, state.next.join(', ')), element('td', {}, timeout));
    });
    const head = ['state', 'keys now', 'clients may move it to', 'timeout'];
    return element('table', {},
      element('thead', {}, element('tr', {}, ...head.map((text, i) => element('th', { scope: 'col', class: i === 1 ? 'n' : '' }, text)))),
      element('tbody', {}, ...rows));
  }
}

// A triangle whose tip is at `end`.
function headAt([x, y], [dx, dy]) {
  const [bx, by] = [x - dx * 8, y - dy * 8];
  return `M${x} ${y}L${bx - dy * 4} ${by + dx * 4}L${bx + dy * 4} ${by - dx * 4}Z`;
}

function waysOf(state) {
  if (isFinal(state)) return 'A final state.';
  const ways = [];
  if (state.next.length) ways.push(`Clients may move it to ${state.next.join(', ')}.`);
  if (state.timeout_ms != null) ways.push(`After ${Format.timeout(state.timeout_ms)} it moves to ${state.timeout_next}.`);
  return ways.join(' ');
}

function inWords(machine) {
  const states = machine.states.map((state) => `${state.name}: ${waysOf(state)}`).join(' ');
  return `Machine ${machine.name}, with ${machine.states.length} states. Keys begin in ${machine.initial}. ${states}`;
}
