// Numbers as people read them.
'use strict';

const NONE = '–';

const Format = {
  // A count, whole: 12,345.
  count: (n) => (n == null ? NONE : Math.round(n).toLocaleString('en')),

  // A count of at most four digits: 12.3 k. Returns the number and its unit.
  short(n) {
    if (n == null) return [NONE, ''];
    for (const [factor, unit] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
      if (n >= factor) return [digits(n / Math.max(1e3, factor === 1e4 ? 1e3 : factor)), unit];
    }
    return [Format.count(n), ''];
  },

  // A time in microseconds. Returns the number and its unit.
  micros(us) {
    if (us == null) return [NONE, ''];
    if (us < 1e3) return [us < 10 ? digits(us) : String(Math.round(us)), 'µs'];
    if (us < 1e6) return [digits(us / 1e3), 'ms'];
    return [digits(us / 1e6), 's'];
  },

  bytes(n) {
    if (n == null) return [NONE, ''];
    let unit = 0;
    while (n >= 1024 && unit < 5) {
      n /= 1024;
      unit++;
    }
    return [unit ? digits(n) : String(n), ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][unit]];
  },

  percent: (part) => (part == null ? [NONE, ''] : [part > 0 && part < 0.1 ? (part * 100).toFixed(1) : String(Math.round(part * 100)), '%']),

  // The exact length of a timeout: 30 s, 1 h 30 min.
  timeout(ms) {
    const parts = [];
    for (const [length, unit] of [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1000, 's'], [1, 'ms']]) {
      const count = Math.floor(ms / length);
      ms -= count * length;
      if (count) parts.push(`${count} ${unit}`);
    }
    return parts.join(' ') || '0 s';
  },

  // About how long: 3 d 4 h.
  age(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 120) return `${s} s`;
    if (s < 7200) return `${Math.floor(s / 60)} min`;
    if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
    return `${Math.floor(s / 86_400)} d ${Math.floor(s % 86_400 / 3600)} h`;
  },

  clock: (ms) => new Date(ms).toLocaleTimeString('en-GB'),

  text: ([number, unit]) => (unit ? `${number} ${unit}` : number),

  // A limit, or a mark of a scale, which are round: 1 GiB, not 1.00 GiB.
  round: ([number, unit]) => Format.text([number.replace(/\.0+$|(\.\d*?)0+$/, '$1'), unit]),
};

// Three digits that count.
function digits(n) {
  if (n >= 99.95) return String(Math.round(n));
  return n >= 9.995 ? n.toFixed(1) : n.toFixed(2);
}

// Elements. Texts are set as texts: nothing that the server says is ever read as HTML.
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(child))));
  return node;
}

// Sets a text, if it is another one: an unchanged node costs nothing, and a screen reader says nothing.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
