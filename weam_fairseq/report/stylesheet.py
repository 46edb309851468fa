"""The look of the report page: light, one column, readable in print and on a narrow screen."""

CSS = """
:root { --ink: #1d2127; --soft: #5c6570; --rule: #d9dde2; --tint: #f5f7f9; --mark: #b34700; --link: #0072b2; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.2rem 1.4rem 4rem; max-width: 68rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Helvetica Neue", Arial, "Noto Sans CJK SC",
  "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .5rem; padding-top: .7rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p, ul, dl { margin: .5rem 0; max-width: 54rem; }
a { color: var(--link); }
code, pre { font: .85em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace; }
pre { background: var(--tint); border: 1px solid var(--rule); border-radius: 4px; padding: .6rem .8rem; margin: .2rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
nav { font-size: .9rem; color: var(--soft); margin: 1rem 0 0; }
nav a { margin-right: 1.1em; text-decoration: none; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
.note { color: var(--soft); font-size: .9rem; }
.caution { border-left: 3px solid var(--mark); padding: .1rem 0 .1rem .8rem; }
.absent { color: var(--soft); font-style: italic; }
.wide { overflow-x: auto; margin: .8rem 0; }
dl.models { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .92rem;
  max-width: none; }
dl.models dt { font-weight: 600; }
dl.models dd { margin: 0; color: var(--soft); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; line-height: 1.35; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .32rem .65rem; text-align: right; vertical-align: top; }
th { font-weight: 600; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; white-space: nowrap; }
thead th { border-bottom: 1px solid var(--ink); vertical-align: bottom; min-width: 3.6rem; }
thead tr.groups th { border-bottom: 0; text-align: left; padding-bottom: 0; }
tbody th { font-weight: 400; }
tbody td, tbody th { border-bottom: 1px solid var(--rule); }
table.main { width: 100%; }
table.main thead th { white-space: nowrap; min-width: 0; }
table.main .first { border-left: 1px solid var(--rule); padding-left: .9rem; }
table.main tr.model th { font-weight: 600; }
td { white-space: nowrap; }
table.main td b, table.scores td b { background: #fdf0e3; color: #8a3700; padding: .05rem .3rem; margin: 0 -.3rem;
  border-radius: 3px; }
table.main tr.after th, table.main tr.after td { border-top: 1px solid var(--ink); }
table.main tr.bound, table.main tr.difference, table.main tr.size { font-size: .86rem; }
table.main tr.bound th, table.main tr.bound td { font-style: italic; }
table.main tr.size th, table.main tr.size td { color: var(--soft); }
table.unbroken th { white-space: nowrap; }
table.left td, table.left th { text-align: left; }
table.left td { white-space: normal; min-width: 5.5rem; overflow-wrap: break-word; }
.example td:nth-last-child(-n+2) { min-width: 13rem; }
table.facts th { color: var(--soft); padding-right: 1.2rem; white-space: nowrap; }
table.facts table.facts { font-size: 1em; }
table.facts table.facts tr:last-child > * { border-bottom: 0; }
table table { margin: -.32rem 0; }
figure { margin: .9rem 0 1.4rem; }
figure .wide > svg { display: block; width: 100%; min-width: 40rem; height: auto; }
figcaption { font-size: .92rem; max-width: 54rem; margin-bottom: .35rem; }
figcaption b { font-weight: 600; }
figcaption span { color: var(--soft); }
.example { border: 1px solid var(--rule); border-radius: 6px; padding: .7rem 1rem .9rem; margin: 1.1rem 0;
  break-inside: avoid; }
.example h3 { margin: 0 0 .2rem; }
svg.links { display: block; fill: var(--ink); }
svg.links path { fill: none; stroke: var(--link); stroke-width: 1.5; opacity: .8; }
svg.links .unlinked { fill: #8a929b; }
.pieces { font-size: .88rem; margin: .25rem 0; max-width: none; line-height: 1.9; }
.pieces .side { color: var(--soft); margin-right: .5em; }
.pieces span.piece { border: 1px solid var(--rule); border-radius: 3px; padding: .02rem .3rem; margin-right: .15rem;
  white-space: nowrap; display: inline-block; line-height: 1.5; }
.pieces span.masked { border-color: var(--mark); background: #fdf0e3; font-weight: 600; }
.right { font-weight: 600; color: #00664a; }
.right::after { content: "\\2009\\2713"; }
details { margin: .8rem 0; }
summary { cursor: pointer; font-weight: 600; }
ul.signatures { list-style: none; padding: 0; max-width: none; font-size: .82rem; }
ul.signatures li { padding: .12rem 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) {
  body { padding: 1.2rem .9rem 3rem; }
  h1 { font-size: 1.4rem; }
  dl.models { grid-template-columns: 1fr; gap: 0; }
  dl.models dd { margin-bottom: .4rem; }
  th, td { padding: .28rem .5rem; }
  table.scores th:first-child { position: sticky; left: 0; background: #fff; box-shadow: inset 0 -1px var(--rule);
    white-space: normal; min-width: 5.5rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  .wide { overflow: visible; }
  figure, table, tr { break-inside: avoid; }
  table.scores { break-inside: auto; }
  h2, h3, figcaption { break-after: avoid; }
  figure .wide > svg { min-width: 0; }
  svg.links { max-width: 100%; height: auto; }
}
"""
