"""The style sheet of a report: light, dark and print, one column, figures that shrink and tables that scroll.

Lines have Okabe and Ito's colours, lightened for dark mode; trials have shades of one hue, stronger for
better ones, which can be ordered with every kind of colour vision.
"""

LIGHT = """
  --paper: #fdfdfc; --ink: #1b2027; --soft: #5d6673; --hair: #dfe3e8; --axis: #98a1ad; --field: #f3f4f6;
  --c0: #0072b2; --c1: #d55e00; --c2: #00805d; --c3: #a94f86; --c4: #b07a00; --c5: #333842;
  --q0: #d4dbe3; --q1: #c3d0dd; --q2: #aac3d9; --q3: #8bb1d2; --q4: #6a9cc7; --q5: #4885b9; --q6: #2769a3;
  --q7: #0d4a86;
"""
DARK = """
  --paper: #14171c; --ink: #e6e9ed; --soft: #9aa4b1; --hair: #2b313a; --axis: #69727e; --field: #1d2229;
  --c0: #56b4e9; --c1: #f58a42; --c2: #35c49a; --c3: #e29bc8; --c4: #e6b422; --c5: #c5ccd6;
  --q0: #2c343e; --q1: #324250; --q2: #385266; --q3: #3f657f; --q4: #497d9f; --q5: #5898c1; --q6: #77b6e0;
  --q7: #aadcff;
"""

STYLE = (
    ":root { color-scheme: light dark;" + LIGHT + "}\n"
    "@media (prefers-color-scheme: dark) { :root {" + DARK + "} }\n"
    "@media print { :root {" + LIGHT + " --paper: #fff; } }\n"
    """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 54rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; line-height: 1.25; letter-spacing: -0.01em; margin: 3rem 0 0.75rem;
  padding-top: 1.25rem; border-top: 1px solid var(--hair); }
h3 { font-size: 1.02rem; margin: 2rem 0 0.5rem; }
p { margin: 0.6rem 0; max-width: 44rem; }
h1, h2, h3, p, li, dd { overflow-wrap: anywhere; }
.kind { color: var(--soft); font-size: 0.85rem; margin: 0 0 0.25rem; }
.decision { font-size: 1.22rem; line-height: 1.45; margin: 0 0 0.75rem; padding-left: 0.9rem;
  border-left: 3px solid var(--c0); }
.findings { margin: 0.75rem 0; padding-left: 1.1rem; max-width: 44rem; }
.findings li { margin: 0.25rem 0; }
.note { color: var(--soft); font-size: 0.9rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 0.7rem 1.25rem;
  margin: 1rem 0; }
dt { color: var(--soft); font-size: 0.8rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
pre { background: var(--field); border-radius: 6px; padding: 0.7rem 0.9rem; margin: 0.75rem 0;
  font: 0.85rem/1.5 ui-monospace, "Liberation Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
pre code { display: block; font: inherit; padding-left: 2ch; text-indent: -2ch; }
pre span { display: inline-block; max-width: 100%; text-indent: 0; }
.scroll { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; font-size: 0.82rem; text-align: left; vertical-align: bottom; }
th, td { padding: 0.32rem 0.9rem 0.32rem 0; border-bottom: 1px solid var(--hair); white-space: nowrap; }
td.long { white-space: normal; min-width: 14rem; }
.n { text-align: right; }
.marked td { font-weight: 600; }
.scripted .cut:not(.all) tbody tr:nth-child(n+11) { display: none; }
html:not(.scripted) .more { display: none; }
.more { border: 0; padding: 0; background: none; color: var(--c0); font: inherit; font-size: 0.92rem;
  cursor: pointer; }
th.by { cursor: pointer; } th.by:hover { color: var(--ink); }
th[aria-sort=ascending]::after { content: " ↑"; } th[aria-sort=descending]::after { content: " ↓"; }
.range { display: flex; justify-content: space-between; width: 150px; }
details { margin: 0.75rem 0; }
summary { cursor: pointer; color: var(--c0); font-size: 0.92rem; }
figure { margin: 1rem 0 1.5rem; break-inside: avoid; }
figcaption { color: var(--soft); font-size: 0.9rem; max-width: 44rem; margin-top: 0.35rem; }
.slices { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.25rem; padding: 0;
  margin: 0 0 0.4rem; font-size: 0.88rem; }
.legend li { overflow-wrap: anywhere; }
svg { display: block; overflow: visible; }
svg.wide { width: 100%; height: auto; }
svg.small { width: 100%; max-width: 27rem; height: auto; }
svg.cell { width: 150px; height: 18px; }
svg.sample { display: inline-block; width: 28px; height: 10px; margin-right: 0.45rem; }
svg text { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg .label { fill: var(--ink); }
svg .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.grid { stroke: var(--hair); } .axis { stroke: var(--axis); }
.line, .thin, .path, .reach, .mean, .dead { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.line { stroke-width: 2.2; } .thin { stroke-width: 0.9; opacity: 0.35; } .reach { stroke-width: 3; }
.path { stroke-width: 1.1; opacity: 0.75; } .path.best { stroke-width: 2.6; opacity: 1; }
.mean { stroke: var(--ink); stroke-width: 1.6; opacity: 0.55; }
.dead { stroke: var(--c1); stroke-width: 1.6; } .lost { stroke: var(--axis); stroke-dasharray: 2 3; }
.band { opacity: 0.17; }
.dot { fill: var(--c0); fill-opacity: 0.55; } .cell .dot { fill-opacity: 1; }
.dot.best { fill: var(--c1); fill-opacity: 1; }
.line.trials, .thin.trials { stroke: var(--axis); } .line.trials { stroke-width: 1; }
"""
    + "".join(
        f".line.c{i}, .thin.c{i}, .reach.c{i} {{ stroke: var(--c{i}); }} "
        f".band.c{i}, .dot.c{i} {{ fill: var(--c{i}); }}\n"
        for i in range(6)
    )
    + "".join(f".path.q{i} {{ stroke: var(--q{i}); }} " for i in range(8))
    + """
.path.best { stroke: var(--c1); }
.line.d1 { stroke-dasharray: 7 4; } .line.d2 { stroke-dasharray: 2 4; }
.line.d3 { stroke-dasharray: 8 3 2 3; }
@media (max-width: 40rem) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.45rem; } .decision { font-size: 1.1rem; }
  svg.wide text { font-size: 17px; } svg.small text { font-size: 12.5px; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  .scroll { overflow: visible; } summary, .more { display: none; }
  .scripted .cut:not(.all) tbody tr:nth-child(n+11) { display: table-row; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
)
