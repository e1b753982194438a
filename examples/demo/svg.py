"""The pieces of the drawing, and figures for them."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from examples.demo.outcome import Pings

__all__ = ["STYLE", "box", "microseconds", "text"]

STYLE = """
  text { font-family: 'Inter', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif; fill: #22303c }
  .title { font-size: 27px; font-weight: 700 }
  .subtitle { font-size: 14px; fill: #66757f }
  .panel { fill: #ffffff; stroke: #dfe4e8 }
  .ours { fill: #f1f7f4; stroke: #9fcdb6 }
  .head { font-size: 14px; font-weight: 700 }
  .note { font-size: 11.5px; fill: #7b8a94 }
  .node { fill: #22303c }
  .client { fill: #1d7a55 }
  .driver { fill: #5b4a99 }
  .name { font-size: 14px; font-weight: 600; fill: #ffffff }
  .role { font-size: 10.5px; fill: #ffffff; opacity: .72 }
  .said { font: 10.5px 'DejaVu Sans Mono', 'Menlo', monospace }
  .figure { font-size: 11.5px; font-weight: 600 }
  .there, .there text { stroke: none; fill: #1f6fb2 }
  .back, .back text { stroke: none; fill: #c2691c }
  .lane-there { stroke: #4a9bdc; stroke-linecap: round }
  .lane-back { stroke: #e69a4d; stroke-linecap: round }
  .lost { fill: #c0392b; font-weight: 600 }
  .big { font-size: 24px; font-weight: 700 }
  .unit { font-size: 12px; fill: #66757f }
  .axis { stroke: #d3dade }
  .bar-idle { fill: #2a9d72 }
  .bar-loaded { fill: #8d7bc4; opacity: .72 }
  .bar-nic { fill: #e0a53d; opacity: .72 }
  .bar-register { fill: #e6ebf0 }
"""


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """Words; `kind` is one or more classes of the style."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, rx: float = 16) -> str:
    """A rectangle with round corners."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{rx:g}"/>'


def microseconds(pings: Pings, percent: float) -> str:
    """A percentile, in words."""
    value = pings.percentile_us(percent)
    return "-" if math.isnan(value) else f"{value:,.0f}"
