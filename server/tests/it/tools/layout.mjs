// Draws many machines, and looks whether labels, states and arrows are in each other's way.
//
//   node layout.mjs LAYOUT.JS
import { readFileSync } from 'node:fs';

const { layoutMachine } = new Function(`${readFileSync(process.argv[2], 'utf8')}; return Layout;`)();
const textWidth = (text) => 7 * text.length;

// Numbers that are the same in each run.
let seed = 7;
const random = (n) => {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return Math.floor(seed / 65536) % n;
};

function machineOf(size, arrows, timeouts) {
  const names = Array.from({ length: size }, (_, i) => `state ${i}`);
  const states = new Map(names.map((name) => [name, { next: [], timeout: null, width: 72 + random(90) }]));
  // Each can be reached.
  for (let i = 1; i < size; i++) states.get(names[random(i)]).next.push(names[i]);
  for (let i = 0; i < arrows; i++) {
    const { next } = states.get(names[random(size)]);
    const to = names[random(size)];
    if (!next.includes(to)) next.push(to);
  }
  for (let i = 0; i < timeouts; i++) {
    states.get(names[random(size)]).timeout = { next: names[random(size)], label: ['30 s', '250 ms', '1 h 30 min'][random(3)] };
  }
  return { initial: names[0], states };
}

const apart = (a, b) => a.x + a.width <= b.x + 0.1 || b.x + b.width <= a.x + 0.1 || a.y + a.height <= b.y + 0.1 || b.y + b.height <= a.y + 0.1;
const inside = ([x, y], box, by = 1) => x > box.x + by && x < box.x + box.width - by && y > box.y + by && y < box.y + box.height - by;

function* pointsOf({ start, path }) {
  let from = start;
  for (const { kind, points } of path) {
    const end = points.at(-1);
    for (let i = 0; i <= 20; i++) {
      const [t, s] = [i / 20, 1 - i / 20];
      if (kind === 'L') yield [s * from[0] + t * end[0], s * from[1] + t * end[1]];
      else {
        const [b, c] = points;
        yield [0, 1].map((d) => s ** 3 * from[d] + 3 * s * s * t * b[d] + 3 * s * t * t * c[d] + t ** 3 * end[d]);
      }
    }
    from = end;
  }
}

function faultsOf(plan) {
  const faults = [];
  const labels = plan.arrows.filter(({ label }) => label);
  const boxes = [
    ...plan.states.map((box) => ({ what: box.name, ...box })),
    ...labels.map(({ from, to, label }) => ({ what: `label of ${from} to ${to}`, ...label })),
  ];
  boxes.forEach((a, i) => {
    if (a.x < 0 || a.y < 0 || a.x + a.width > plan.width || a.y + a.height > plan.height) faults.push(`${a.what} is outside`);
    for (const b of boxes.slice(0, i)) if (!apart(a, b)) faults.push(`${a.what} lies on ${b.what}`);
  });
  for (const arrow of plan.arrows) {
    for (const point of pointsOf(arrow)) {
      if (point[0] < 0 || point[1] < 0 || point[0] > plan.width || point[1] > plan.height) faults.push(`${arrow.from} to ${arrow.to} is outside`);
      for (const state of plan.states) if (inside(point, state)) faults.push(`${arrow.from} to ${arrow.to} crosses ${state.name}`);
      for (const other of labels) if (other !== arrow && inside(point, other.label)) faults.push(`${arrow.from} to ${arrow.to} crosses the label of ${other.from} to ${other.to}`);
    }
  }
  return [...new Set(faults)];
}

let drawn = 0;
for (let size = 1; size <= 40; size++) {
  for (let variant = 0; variant < (size <= 12 ? 40 : 2); variant++) {
    const machine = machineOf(size, random(size + 2), random(size + 1));
    for (const vertical of [false, true]) {
      const faults = faultsOf(layoutMachine(machine, textWidth, vertical));
      if (faults.length) {
        console.error(`${size} states, variant ${variant}, ${vertical ? 'downwards' : 'to the right'}:\n  ${faults.join('\n  ')}`);
        console.error(JSON.stringify([...machine.states]));
        process.exit(1);
      }
      drawn++;
    }
  }
}
console.log(`${drawn} drawings`);
