"""The few elements of SVG that a bar chart needs, and their style.

SVG by hand needs nothing installed, changes by a few lines when figures change, and follows the reader's light or dark
scheme, which the output of plotting libraries does not.
"""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

# With both margins, about the width of a README on GitHub.
WIDTH = 808.0
MARGIN = 16.0

# GitHub's own colours. The ground is drawn, as the page may be light where the reader's scheme is dark.
STYLE = """
.ground { fill: #ffffff }
text { font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328; font-size: 12px }
.title { font-size: 16px; font-weight: 600 }
.heading { font-size: 13px; font-weight: 600 }
.small { font-size: 11px; fill: #59636e }
.end { text-anchor: end }
.rule { stroke: #d1d9e0; stroke-width: 1 }
.soloist { fill: #0969da }
.peer { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117 }
  text { fill: #f0f6fc }
  .small { fill: #9198a1 }
  .rule { stroke: #3d444d }
  .soloist { fill: #4493f8 }
  .peer { fill: #656c76 }
}
"""


def text(x: float, y: float, style: str, content: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(content)}</text>'


def rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{style}"/>'


def rule(y: float) -> str:
    """A line from side to side."""
    return f'<path d="M0 {y:.1f}H{WIDTH:g}" class="rule"/>'


def document(elements: list[str], content_height: float, description: str) -> str:
    """A picture of these elements. `description` is for readers who cannot see it."""
    width, height = WIDTH + 2 * MARGIN, content_height + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f"aria-label={quoteattr(description)}>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width:g}" height="{height:g}" rx="6" class="ground"/>',
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">',
        *elements,
        "</g>",
        "</svg>",
        "",
    ]
    return "\n".join(lines)
