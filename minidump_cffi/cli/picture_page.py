"""Style and script of the picture. Both are fixed texts: their hashes are all that the page allows to run."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

COLOURS: Final[dict[str, str]] = {
    "heap": "#d1495b",
    "stack": "#e3a008",
    "anonymous": "#2a9d6f",
    "shared": "#1fa3b8",
    "image": "#4472c4",
    "file": "#8e5bb5",
    "vdso": "#6b7789",
    "other": "#9aa0a6",
}
"""A colour for each kind of memory, the same on light and on dark ground."""

WIDEST: Final = 99
"""Pixels of an area."""
STEPS: Final = 20
"""So many steps has the height to which an area is filled."""

STYLE: Final = (
    """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --soft: #5c6670; --line: #d5dae0; --out: #c2182b }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15181c; --ink: #e6e9ec; --soft: #9aa4ae; --line: #363d45; --out: #ff6b7a }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1320px; padding: 16px 20px 72px; background: var(--ground); color: var(--ink);
  font: 14px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 20px; margin: 0 }
h2 { font-size: 15px; margin: 28px 0 6px }
p { margin: 4px 0; color: var(--soft) }
.legend, .cluster { display: flex; flex-wrap: wrap; align-items: flex-end }
.legend { gap: 4px 14px; margin: 10px 0 }
.legend span, .legend button { display: inline-flex; gap: 5px; align-items: center }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: left }
button:hover, button[aria-pressed=true] { text-decoration: underline }
.whole { display: block; width: 100%; height: 44px; border: 1px solid var(--line); border-radius: 3px }
.whole .rest { opacity: .3 }
h3 { font: 12px/1.4 ui-monospace, monospace; color: var(--soft); margin: 14px 0 3px }
.gap { font-size: 12px; color: var(--soft); border-left: 2px dotted var(--line); margin: 8px 0 0 2px;
  padding-left: 10px }
.cluster { gap: 1px }
i { display: block; height: 22px; --s: 0%; --p: 0%; border: 1px solid var(--c); border-radius: 1px;
  background: linear-gradient(to top, var(--c) var(--s),
  color-mix(in srgb, var(--c) 40%, transparent) var(--s) var(--p), transparent var(--p)) }
i.after { margin-left: 5px }
i.excluded { background: repeating-linear-gradient(135deg, var(--out) 0 2px, transparent 2px 5px) }
i.missing, i.over-budget { border: 2px solid var(--out) }
i.never-read { opacity: .45; border-style: dotted }
i.dontdump, i.coredump-filter { border-style: dashed }
i.left-to-file { background: repeating-linear-gradient(90deg, var(--c) 0 1px, transparent 1px 4px) }
.some i { opacity: .12 }
.some i.on { opacity: 1 }
i:hover { outline: 2px solid var(--ink) }
.table { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { overflow-wrap: normal }
th, td { text-align: left; padding: 2px 14px 2px 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 600 }
td:first-child { overflow-wrap: anywhere; min-width: 9em }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td svg { display: block; width: 120px; height: 10px; margin-top: 5px; background: var(--line) }
svg .out { fill: var(--out) }
#info { position: fixed; inset: auto 0 0 0; padding: 8px 20px; background: var(--ground); color: var(--ink);
  border-top: 1px solid var(--line); font: 12px/1.4 ui-monospace, monospace; white-space: pre-wrap; min-height: 50px }
"""
    + "".join(f".{kind} {{ --c: {colour}; fill: {colour} }}\n" for kind, colour in COLOURS.items())
    + "".join(f".w{width} {{ width: {width}px }}\n" for width in range(1, WIDEST + 1))
    + "".join(
        f".s{step} {{ --s: {100 * step // STEPS}% }}\n.p{step} {{ --p: {100 * step // STEPS}% }}\n"
        for step in range(STEPS + 1)
    )
)

SCRIPT: Final = """
"use strict";
const map = document.getElementById("map"), info = document.getElementById("info");
const areas = Array.from(map.querySelectorAll("i"));
let shown = null;
function tell(event) {
  const area = event.target.closest("i[title]");
  if (area) info.textContent = area.title;
}
map.addEventListener("pointerover", tell);
map.addEventListener("click", tell);
document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (shown) shown.setAttribute("aria-pressed", "false");
  shown = shown === button ? null : button;
  if (shown) shown.setAttribute("aria-pressed", "true");
  map.classList.toggle("some", shown !== null);
  for (const area of areas) area.classList.toggle("on", shown !== null && area.classList.contains(shown.value));
});
document.documentElement.dataset.drawn = areas.filter(area => area.offsetWidth && area.offsetHeight).length;
"""
