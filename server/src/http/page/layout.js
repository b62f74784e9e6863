// Where to draw the states of a machine, and the arrows between them.
//
// The states stand in columns, by how many moves they are away from the initial state. Between two columns of states is
// a column of arrows, in which every arrow that passes has a place of its own, with its label. Arrows that go back by
// more than a column have a place in the columns of states, too. So no label can lie on another label, on a state, or on
// an arrow that is not its own.
//
// Everything is in two directions: `u`, along which moves lead on, and `v`, across. `vertical` says that `u` is down.
// Nothing here knows the page: `textWidth(text)` measures a label.

const Layout = (() => {
  'use strict';

  const STATE_HEIGHT = 46;
  const LABEL_HEIGHT = 17;
  // Between two states of a column, and between two arrows.
  const STATE_GAP = 22;
  const ARROW_GAP = 9;
  // Between the ends of two arrows at a state.
  const PORT_GAP = 11;
  // Of the curves before and after a column of arrows.
  const CURVE_MIN = 28;
  const CURVE_MAX = 64;
  // Between arrows that turn at the same column.
  const TURN_GAP = 8;
  const LOOP = 20;
  const MARGIN = 8;
  const START = 30;
  const SWEEPS = 24;

  // The states by their distance from the initial one; then those that only keys in them can reach.
  function ranks(machine) {
    const rank = new Map();
    const visit = (root) => {
      if (rank.has(root)) return;
      rank.set(root, 0);
      const ahead = [root];
      for (const name of ahead) {
        const state = machine.states.get(name);
        const next = state.next.concat(state.timeout ? [state.timeout.next] : []);
        for (const to of next) {
          if (!rank.has(to)) {
            rank.set(to, rank.get(name) + 1);
            ahead.push(to);
          }
        }
      }
    };
    visit(machine.initial);
    for (const name of machine.states.keys()) visit(name);
    return rank;
  }

  function arrowsOf(machine) {
    const arrows = [];
    for (const [from, state] of machine.states) {
      for (const to of state.next) arrows.push({ from, to, timed: false, label: '' });
      if (state.timeout) {
        arrows.push({ from, to: state.timeout.next, timed: true, label: state.timeout.label });
      }
    }
    return arrows;
  }

  // Puts the cells into columns: column 2r has the states of rank r, column 2r+1 the arrows after it.
  function columnsOf(machine, rank, arrows, textWidth, vertical) {
    const columns = Array.from({ length: 2 * Math.max(...rank.values()) + 2 }, () => []);
    const states = new Map();
    for (const [name, r] of rank) {
      const state = machine.states.get(name);
      const width = state.width;
      const cell = {
        name, column: 2 * r, across: vertical ? width : STATE_HEIGHT, along: vertical ? STATE_HEIGHT : width,
        before: 0, after: 0, links: [], loops: [], weight: 4, gap: STATE_GAP,
      };
      states.set(name, cell);
      columns[2 * r].push(cell);
    }
    // The states of a column are as long as the longest, so that no arrow begins or ends between two of them.
    for (const column of columns) {
      const along = Math.max(...column.map((cell) => cell.along));
      for (const cell of column) cell.along = along;
    }
    for (const arrow of arrows) {
      const from = states.get(arrow.from);
      const to = states.get(arrow.to);
      arrow.labelWidth = arrow.label ? textWidth(arrow.label) + 8 : 0;
      if (from === to) {
        // A loop has its room at the state: a permitted move on one side, a timeout on the other.
        from.loops.push(arrow);
        const room = LOOP + (arrow.label ? (vertical ? arrow.labelWidth : LABEL_HEIGHT - 2) : 0);
        if (arrow.timed) from.after = room;
        else from.before = room;
        continue;
      }
      const step = Math.sign(to.column - from.column);
      const passed = [];
      if (step === 0) passed.push(from.column + 1);
      else for (let c = from.column + step; c !== to.column; c += step) passed.push(c);
      // The label is where the arrow begins.
      arrow.cells = passed.map((column, i) => {
        const labelled = i === 0 && arrow.label !== '';
        const label = vertical ? arrow.labelWidth : LABEL_HEIGHT;
        const cell = {
          arrow, column, turns: step === 0, label: labelled, across: labelled ? label : 2,
          along: labelled ? (vertical ? LABEL_HEIGHT : arrow.labelWidth) : 0,
          before: 0, after: 0, links: [], weight: passed.length > 1 ? 2 : 1, gap: ARROW_GAP,
        };
        columns[column].push(cell);
        return cell;
      });
      arrow.chain = [from, ...arrow.cells, to];
      for (let i = 1; i < arrow.chain.length; i++) {
        const [a, b] = [arrow.chain[i - 1], arrow.chain[i]];
        a.links.push({ cell: b, port: 0 });
        b.links.push({ cell: a, port: 0 });
      }
    }
    return { columns, states };
  }

  // Between two columns: the pairs of places that are joined.
  function joined(left, right) {
    const pairs = [];
    for (const cell of left) {
      for (const { cell: other } of cell.links) if (other.column === right) pairs.push([cell.order, other.order]);
    }
    return pairs;
  }

  // How often arrows cross between the columns from `first` to `last`.
  function crossings(columns, first = 0, last = columns.length - 1) {
    let count = 0;
    for (let c = Math.max(0, first); c < Math.min(last, columns.length - 1); c++) {
      const pairs = joined(columns[c], c + 1);
      for (let i = 0; i < pairs.length; i++) {
        for (let j = 0; j < i; j++) {
          if ((pairs[i][0] - pairs[j][0]) * (pairs[i][1] - pairs[j][1]) < 0) count++;
        }
      }
    }
    return count;
  }

  const number = (column) => column.forEach((cell, order) => { cell.order = order; });

  // Orders each column so that few arrows cross: by the middle of what a cell is joined to, back and forth, and the best
  // of all that were seen.
  function order(columns) {
    columns.forEach(number);
    let best = { count: Infinity };
    const look = () => {
      const count = crossings(columns);
      if (count < best.count) best = { count, columns: columns.map((column) => column.slice()) };
    };
    look();
    for (let sweep = 0; sweep < SWEEPS && best.count > 0; sweep++) {
      const forward = sweep % 2 === 0;
      const side = forward ? -1 : 1;
      const all = forward ? columns : columns.slice().reverse();
      for (const column of all) {
        for (const cell of column) {
          const near = cell.links.filter(({ cell: other }) => sweep >= SWEEPS / 2 || other.column === cell.column + side);
          // The place in the other column, as a part of it: columns differ in length.
          const places = near.map(({ cell: other }) => (other.order + 0.5) / columns[other.column].length);
          cell.middle = places.length ? places.reduce((a, b) => a + b) / places.length
            : (cell.order + 0.5) / column.length;
        }
        column.sort((a, b) => a.middle - b.middle || a.order - b.order);
        number(column);
      }
      look();
      exchange(columns);
      look();
    }
    best.columns.forEach((column, c) => { columns[c] = column; number(column); });
  }

  // Exchanges neighbours as long as that leaves fewer crossings.
  function exchange(columns) {
    const cells = columns.reduce((sum, column) => sum + column.length, 0);
    if (cells > 120) return;
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c];
      for (let i = 0; i + 1 < column.length; i++) {
        const before = crossings(columns, c - 1, c + 1);
        swap(column, i);
        if (crossings(columns, c - 1, c + 1) >= before) swap(column, i);
      }
    }
  }

  function swap(column, i) {
    [column[i], column[i + 1]] = [column[i + 1], column[i]];
    column[i].order = i;
    column[i + 1].order = i + 1;
  }

  // The centres nearest to what the cells of a column want, that keep the order and the gaps: isotonic regression by
  // pooling adjacent violators.
  function settle(column) {
    let offset = 0;
    const pools = [];
    column.forEach((cell, i) => {
      if (i > 0) offset += distance(column[i - 1], cell);
      cell.offset = offset;
      pools.push({ sum: (cell.wish - offset) * cell.weight, weight: cell.weight, cells: [cell] });
      while (pools.length > 1) {
        const [a, b] = pools.slice(-2);
        if (a.sum / a.weight <= b.sum / b.weight) break;
        pools.splice(-2, 2, { sum: a.sum + b.sum, weight: a.weight + b.weight, cells: a.cells.concat(b.cells) });
      }
    });
    for (const { sum, weight, cells } of pools) {
      for (const cell of cells) cell.v = sum / weight + cell.offset;
    }
  }

  function distance(a, b) {
    return a.across / 2 + a.after + Math.min(a.gap, b.gap) + b.before + b.across / 2;
  }

  // Where arrows end at each side of a state: in the order of where they come from.
  function ports(states) {
    for (const cell of states.values()) {
      for (const side of [-1, 1]) {
        const links = cell.links.filter(({ cell: other }) => other.column === cell.column + side);
        links.sort((a, b) => a.cell.order - b.cell.order || a.cell.v - b.cell.v);
        links.forEach((link, i) => { link.port = (i - (links.length - 1) / 2) * PORT_GAP; });
        // A state is as large as its arrows need.
        cell.across = Math.max(cell.across, (links.length - 1) * PORT_GAP + 18);
      }
    }
  }

  function place(columns, states) {
    for (const column of columns) {
      column.forEach((cell) => { cell.wish = 0; });
      settle(column);
    }
    ports(states);
    for (let sweep = 0; sweep < 2 * SWEEPS; sweep++) {
      const all = sweep % 2 === 0 ? columns : columns.slice().reverse();
      for (const column of all) {
        for (const cell of column) {
          const wishes = cell.links.map(({ cell: other, port }) => {
            const back = other.links.find((link) => link.cell === cell);
            return other.v + back.port - port;
          });
          if (wishes.length) cell.wish = wishes.reduce((a, b) => a + b) / wishes.length;
          else cell.wish = cell.v ?? 0;
        }
        settle(column);
      }
    }
  }

  // Where the columns are. A column of arrows has room for its labels, and for curves on both sides of them, which are the
  // wider the further they climb.
  function advance(columns) {
    let u = MARGIN + START;
    return columns.map((column, c) => {
      const along = Math.max(0, ...column.map((cell) => cell.along));
      let curve = 0;
      if (c % 2 === 1 && column.length) {
        const climbs = column.flatMap((cell) => cell.links.map(({ cell: other, port }) => {
          const back = other.links.find((link) => link.cell === cell);
          return Math.abs(other.v + (back ? back.port : port) - cell.v);
        }));
        // The wider an arrow turns, the further out it does.
        const turns = column.filter((cell) => cell.turns);
        turns.sort((a, b) => Number(a.label) - Number(b.label) || reach(a) - reach(b));
        turns.forEach((cell, i) => { cell.inwards = 4 + TURN_GAP * (turns.length - 1 - i); });
        curve = Math.min(CURVE_MAX, Math.max(CURVE_MIN, 0.34 * Math.max(...climbs))) + TURN_GAP * Math.max(0, turns.length - 1);
      }
      const last = c === columns.length - 1;
      const begin = u;
      u += along + curve * (last ? 1 : 2);
      return { begin, from: begin + curve, to: begin + curve + along, end: u };
    });
  }

  const reach = ({ links: [a, b] }) => Math.abs(a.cell.v - b.cell.v);

  const line = (u, v) => ({ kind: 'L', points: [[u, v]] });

  // An S between two points, level at both ends.
  function curve(u0, v0, u1, v1) {
    const middle = (u0 + u1) / 2;
    return { kind: 'C', points: [[middle, v0], [middle, v1], [u1, v1]] };
  }

  function portOf(state, cell, bounds) {
    const { port } = state.links.find((link) => link.cell === cell);
    const right = cell.column > state.column;
    const { from, to } = bounds[state.column];
    const centre = (from + to) / 2;
    return [right ? centre + state.along / 2 : centre - state.along / 2, state.v + port];
  }

  // The path of an arrow: a start, and lines and curves from there. Returns also where its head is and points.
  function route(arrow, bounds, labels) {
    const [first, last] = [arrow.chain[0], arrow.chain.at(-1)];
    const start = portOf(first, arrow.cells[0], bounds);
    const end = portOf(last, arrow.cells.at(-1), bounds);
    const path = [];
    const cell = arrow.cells[0];
    if (cell.turns) {
      const turn = bounds[cell.column].from - cell.inwards;
      const bend = (v) => cell.v + (v - cell.v) / 2;
      path.push({ kind: 'C', points: [[turn, start[1]], [turn, bend(start[1])], [turn, cell.v]] });
      path.push({ kind: 'C', points: [[turn, bend(end[1])], [turn, end[1]], end] });
      return { start, path, end, direction: -1 };
    }
    const direction = Math.sign(last.column - first.column);
    let [u, v] = start;
    for (const [i, passed] of arrow.cells.entries()) {
      const { from, to } = bounds[passed.column];
      const [enter, leave] = direction > 0 ? [from, to] : [to, from];
      if (passed.column % 2 === 1 && !passed.label && !arrow.bends) {
        // One curve is calmer than two, if no label is in its way.
        const next = arrow.cells[i + 1];
        const [edge, at] = next ? [direction > 0 ? bounds[next.column].from : bounds[next.column].to, next.v] : end;
        if (labels[passed.column].every((label) => !passes(u, v, edge, at, label))) {
          path.push(curve(u, v, edge, at));
          [u, v] = [edge, at];
          continue;
        }
        // Nor is one of two between the same states, which would cross the other.
        arrow.bends = arrow.cells.length === 1;
      }
      path.push(curve(u, v, enter, passed.v));
      if (leave !== enter) path.push(line(leave, passed.v));
      [u, v] = [leave, passed.v];
    }
    if (u !== end[0]) path.push(curve(u, v, ...end));
    return { start, path, end, direction };
  }

  // Whether the S between two points passes a label, or comes near it.
  function passes(u0, v0, u1, v1, label) {
    for (let i = 0; i <= 24; i++) {
      const [t, s] = [i / 24, 1 - i / 24];
      const middle = 3 * s * s * t + 3 * s * t * t;
      const u = s ** 3 * u0 + middle * (u0 + u1) / 2 + t ** 3 * u1;
      const v = v0 + (v1 - v0) * (3 * s * t * t + t ** 3);
      if (Math.abs(u - label.u) < label.along / 2 + 3 && Math.abs(v - label.v) < label.across / 2 + 3) return true;
    }
    return false;
  }

  function labelOf(arrow, bounds) {
    const cell = arrow.cells[0];
    const { from, to } = bounds[cell.column];
    const u = cell.turns ? from + cell.along / 2 : (from + to) / 2;
    return { u, v: cell.v, along: cell.along, across: cell.across };
  }

  function loopOf(state, arrow, centre, vertical) {
    const side = arrow.timed ? 1 : -1;
    const edge = state.v + side * state.across / 2;
    const out = edge + side * LOOP * 1.25;
    const [u0, u1] = [centre - 13, centre + 13];
    const path = [{ kind: 'C', points: [[u0 - 8, out], [u1 + 8, out], [u1, edge]] }];
    let label = null;
    if (arrow.label) {
      const across = vertical ? arrow.labelWidth : LABEL_HEIGHT;
      const along = vertical ? LABEL_HEIGHT : arrow.labelWidth;
      label = { u: centre, v: edge + side * (LOOP + across / 2 - 2), along, across };
    }
    return { start: [u0, edge], path, end: [u1, edge], label, side };
  }

  // `machine.states` is a Map of names to {next, timeout: {next, label}, width}. Returns boxes and paths in x and y.
  function layoutMachine(machine, textWidth, vertical) {
    const rank = ranks(machine);
    const arrows = arrowsOf(machine);
    const { columns, states } = columnsOf(machine, rank, arrows, textWidth, vertical);
    order(columns);
    place(columns, states);
    const bounds = advance(columns);

    const cells = columns.flat();
    const top = Math.min(...cells.map((cell) => cell.v - cell.across / 2 - cell.before)) - MARGIN;
    const bottom = Math.max(...cells.map((cell) => cell.v + cell.across / 2 + cell.after)) + MARGIN;
    const long = bounds.at(-1).end + MARGIN;
    const point = ([u, v]) => (vertical ? [v - top, u] : [u, v - top]);
    const box = (u, v, along, across) => {
      const [x, y] = point([u, v]);
      const [width, height] = vertical ? [across, along] : [along, across];
      return { x: x - width / 2, y: y - height / 2, width, height };
    };
    const turned = ({ start, path }) => ({
      start: point(start),
      path: path.map(({ kind, points }) => ({ kind, points: points.map(point) })),
    });
    const pointing = (along, across) => (vertical ? [across, along] : [along, across]);

    const passing = arrows.filter(({ chain }) => chain);
    const labels = columns.map((_, c) => passing.filter(({ label, cells: [first] }) => label && first.column === c)
      .map((arrow) => labelOf(arrow, bounds)));
    for (const arrow of passing) {
      route(arrow, bounds, labels);
      for (const other of passing) if (arrow.bends && other.cells.length === 1 && arrow.from === other.to && arrow.to === other.from) other.bends = true;
    }
    const drawn = [];
    for (const arrow of passing) {
      const way = route(arrow, bounds, labels);
      const label = arrow.label ? labelOf(arrow, bounds) : null;
      drawn.push({
        from: arrow.from, to: arrow.to, timed: arrow.timed, text: arrow.label, ...turned(way),
        end: point(way.end), pointing: pointing(way.direction, 0),
        label: label && box(label.u, label.v, label.along, label.across),
      });
    }
    const boxes = [];
    for (const [name, cell] of states) {
      const { from, to } = bounds[cell.column];
      const centre = (from + to) / 2;
      boxes.push({ name, ...box(centre, cell.v, cell.along, cell.across) });
      for (const arrow of cell.loops) {
        const way = loopOf(cell, arrow, centre, vertical);
        drawn.push({
          from: name, to: name, timed: arrow.timed, text: arrow.label, ...turned(way),
          end: point(way.end), pointing: pointing(0, -way.side),
          label: way.label && box(way.label.u, way.label.v, way.label.along, way.label.across),
        });
      }
    }
    const initial = states.get(machine.initial);
    const edge = (bounds[0].from + bounds[0].to) / 2 - initial.along / 2;
    return {
      width: vertical ? bottom - top : long,
      height: vertical ? long : bottom - top,
      states: boxes,
      arrows: drawn,
      entry: { from: point([edge - START + 6, initial.v]), to: point([edge, initial.v]), pointing: pointing(1, 0) },
    };
  }

  return { layoutMachine };
})();
